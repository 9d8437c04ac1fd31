/**
 * The addresses to which a sign-in may lead, as the proxy judges them: one list of cases tests both.
 *
 * A file of its own in the package; `/bff/client.js` holds it in place of the line that imports it.
 */

/** True for a `return_to` that the proxy takes, which decodes it as often; `taken` are the paths of its own. */
export function isReturnTo(value, taken) {
  let path = value.split(/[?#]/, 1)[0];
  if (value.length > 1024 || !/^\/[!-[\]-~]*$/.test(value) || /%(?![0-9a-f]{2})/i.test(path)) return false;
  for (let round = 0, encoded; round < 4; round += 1) {
    if (isOdd(path, taken) || isOdd(path.normalize("NFKC"), taken)) return false;
    try { path = (encoded = path).replace(/(?:%[0-9a-f]{2})+/gi, decodeURIComponent); } catch { return false; }
    if (path === encoded) return true;
  }
  return false;
}

/** True where some reader would see dots, slashes or escapes in a path, or one of the proxy's own. */
function isOdd(path, taken) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(path)).replace(/[\x00-\x20\x7f-\xa0]/g, "");
  const reading = bytes.replace(/;[^/]*/g, "").replace(/\/+/g, "/").toLowerCase();
  return /\/\/|[\\\uff05\ufe6a\p{Cc}\p{Zl}\p{Zp}]/u.test(path) || /\/\.\.?(?:\/|$)/.test(reading)
    || taken.some((each) => each === "/" || `${reading}/`.startsWith(`${each}/`));
}
