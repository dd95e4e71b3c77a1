/** Every request that the REST lane answers otherwise than Envoy's transcoder, each with its reason. */

/** The HTTP status of ours and of Envoy's, and the reason why they differ, or why their bodies do. */
export type Difference = readonly [ours: number, envoys: number, reason: string];

const ONE_PATH =
  "a path has one spelling, so that a rule of a proxy about one path holds for it; Envoy drops the slash";
const ONCE = "a field that comes twice says two things; Envoy takes the last";
const NO_METHOD = "HTTP has 405 and Allow for a method that a path lacks; Envoy has 404 for everything unknown";
const TYPE = "a page may send such a body to any origin without asking first (CORS); Envoy reads it as JSON";
const NO_UTF8 = "bad input is never INTERNAL; Envoy hands the bytes to the service, as a text that is no UTF-8";
const LITERALLY = "half an escape is a mistake; Envoy takes it as it stands";
const BOOLEAN = "proto3 JSON has `true` and `false` alone; Envoy takes more words";
const TYPES = "proto3 JSON has one form for each type; Envoy turns the value into the field's type";
const NO_JSON = "RFC 8259 has no such text; Envoy's parser takes it";
const LENIENT = "@bufbuild/protobuf reads a text as a number of JavaScript, on every lane; Envoy wants digits";
const NAMELESS = "a query that names no field is a mistake; Envoy drops what has no name or no value";
const NO_BODY = "a body that has no effect is a mistake; Envoy drops it";
const TOO_LARGE = "HTTP has a status for a body that is too large; Envoy has the one of the gRPC code";
const MASK = "a mask is one text in proto3 JSON; Envoy knows its fields too";
const UNKNOWN = "a client that misspells `requiredScopes` must not read that the key is valid; Envoy drops the field";

/** Group -> name of a request -> how the answers differ. A row that no longer differs fails the test. */
export const DIFFERENCES: Readonly<Record<string, Readonly<Record<string, Difference>>>> = {
  "a query": {
    "an unknown name without a value": [400, 200, NAMELESS],
    "a value without a name": [400, 200, NAMELESS],
    "a boolean that is 1": [400, 200, BOOLEAN],
    "a boolean in upper case": [400, 200, BOOLEAN],
    "a boolean that is yes": [400, 200, BOOLEAN],
    "one field twice": [400, 200, ONCE],
    "one field in both spellings": [400, 200, ONCE],
    "an escape that is no UTF-8": [400, 500, NO_UTF8],
    "half an escape": [400, 400, LITERALLY],
    "a part of a time": [400, 400, "a time is one text in proto3 JSON; Envoy knows its fields too"],
    "a field of the path": [400, 404, "a path names one resource; Envoy lets the query name another"],
    "the key of a verification": [400, 200, "a key must not stand in a URL; Envoy takes fields of a body from a query"],
    "a mask twice": [400, 200, ONCE],
    "a mask by its paths": [400, 200, MASK],
  },
  "a path": {
    "a slash at the end": [404, 200, ONE_PATH],
    "a slash after an id": [404, 200, ONE_PATH],
    "an escaped verb": [405, 404, "it is an id with an escaped colon, and a path of an id has no POST"],
    "an escape that is no UTF-8": [400, 500, NO_UTF8],
    "half an escape": [400, 404, LITERALLY],
    "a colon in an id": [404, 404, "a colon in the last segment begins a verb; Envoy looks for such an id"],
    "the name of the RPC": [200, 404, "the same port speaks Connect; Envoy was told to pass nothing else on"],
  },
  "a method": {
    "GET where POST is": [405, 404, NO_METHOD],
    "PUT where PATCH is": [405, 404, NO_METHOD],
    "POST where GET is": [405, 404, NO_METHOD],
    "DELETE of a collection": [405, 404, NO_METHOD],
    "PATCH of a collection": [405, 404, NO_METHOD],
    "an unknown method": [405, 404, NO_METHOD],
    "HEAD of a key": [200, 404, "RFC 9110 wants HEAD wherever GET is; Envoy does not know it"],
    "OPTIONS of a key": [204, 404, "OPTIONS tells the methods of a path; Envoy does not know it"],
  },
  "a header": {
    "another charset": [415, 200, "JSON is UTF-8; Envoy does not look at the charset"],
    "no type": [415, 200, TYPE],
    "a form": [415, 200, TYPE],
    text: [415, 200, TYPE],
    "a suffix of JSON": [415, 200, TYPE],
    "a coding": [415, 200, "no body is decompressed, so that a small one is never large; Envoy does not look at it"],
    "another method in a header": [405, 404, NO_METHOD],
    "a body of 100 KiB": [413, 429, TOO_LARGE],
    "a body beyond 256 KiB": [413, 429, TOO_LARGE],
  },
  "a body": {
    "both spellings of one field": [400, 200, ONCE],
    "a field twice": [400, 200, ONCE],
    "an unknown field": [400, 200, UNKNOWN],
    "an unknown field that is null": [400, 200, UNKNOWN],
    "a list that is a text": [400, 200, TYPES],
    "a list with null": [400, 200, TYPES],
    "a boolean as text": [400, 200, TYPES],
    "a map with null": [400, 200, TYPES],
    "an integer as text with a fraction of 0": [200, 400, LENIENT],
    "an integer as text with an exponent": [200, 400, LENIENT],
    "an integer as text in hexadecimal": [200, 400, LENIENT],
    "a time that is no date": [200, 400, "@bufbuild/protobuf reads 30 February as 2 March, on every lane"],
    "a comma at the end": [400, 200, NO_JSON],
    "single quotes": [400, 200, NO_JSON],
    "a name without quotes": [400, 200, NO_JSON],
    "a bad escape": [400, 200, NO_JSON],
    "a control character in a text": [400, 200, NO_JSON],
    "a byte order mark": [200, 400, "RFC 8259 lets a parser ignore it, and the WHATWG decoder does"],
    "another id in the body than in the path": [400, 200, "a request names one resource; Envoy takes the path's"],
    "a key that is null": [400, 400, "proto3 JSON has no message that is null; Envoy takes it as an empty one"],
    "a body of a path that takes none": [400, 200, NO_BODY],
    "a body of a path that deletes": [400, 404, NO_BODY],
  },
};
