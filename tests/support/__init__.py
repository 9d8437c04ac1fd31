"""What tests share: real servers to talk to, and fakes that tell what they were asked."""
