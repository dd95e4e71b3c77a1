import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type StaticPage, staticPage } from "./static-pages.ts";

const VIEWER = join(import.meta.dirname, "../../../third_party/swagger-ui");

/** The browser loads nothing from elsewhere and runs no script of the page itself. swagger-ui sets styles inline. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Links are relative, so that the page works behind a proxy that adds a prefix to paths. */
const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>latchkey: REST paths</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<main id="operations"></main>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
`;

/**
 * Starts the viewer. Without a validator it asks no other service whether the description is valid, and a query of the
 * page can't name another description. A credential that a reader types stays in the page's memory.
 */
const START = `SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#operations",
  deepLinking: true,
  validatorUrl: null,
  queryConfigEnabled: false,
  persistAuthorization: false,
});
`;

/**
 * The pages of `/docs` by path: a viewer of `/openapi.json`, which can also send requests. They take 2 MB of memory.
 *
 * @throws {Error} if a file of the viewer is missing
 */
export function docsPages(): ReadonlyMap<string, StaticPage> {
  const file = (name: string) => readFileSync(join(VIEWER, name));
  const script = "text/javascript; charset=utf-8";
  const guards = [
    ["content-security-policy", CONTENT_SECURITY_POLICY],
    ["referrer-policy", "no-referrer"],
  ] as const;
  return new Map([
    ["/docs", staticPage("text/html; charset=utf-8", Buffer.from(PAGE), guards)],
    ["/docs/start.js", staticPage(script, Buffer.from(START))],
    ["/docs/swagger-ui-bundle.js", staticPage(script, file("swagger-ui-bundle.js"))],
    ["/docs/swagger-ui.css", staticPage("text/css; charset=utf-8", file("swagger-ui.css"))],
  ]);
}
