import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { DomainError } from "../../src/lib/errors.ts";
import { amendCodecError } from "../../src/rpc/errors.ts";
import { readParameters } from "../../src/rpc/rest/parameters.ts";
import { requestMessage } from "../../src/rpc/rest/request-message.ts";
import { RestRoutes } from "../../src/rpc/rest/rest-routes.ts";
import { errorThrownBy } from "../support/errors.ts";
import { probeRoutes } from "../support/probe-contract.ts";

const ROUTES = new RestRoutes(
  probeRoutes(
    { get: "/v1/probes/{name}" },
    { patch: "/v1/inners/{inner.id}", body: "inner" },
    { post: "/v1/probes/{name}:rotate", body: "*" },
    { delete: "/v1/sizes/{page_size}" },
  ),
);

/** The request message of a request, as JSON. */
function message(method: string, target: string, body: string | Uint8Array = ""): JsonObject {
  const [path = "", query = ""] = target.split(/\?(.*)/s);
  const { resource, values } = ROUTES.find(path)!;
  const route = resource.methods.get(method)!;
  const parameters = readParameters(route, values, query);
  return toJson(route.rpc.method.input, requestMessage(route, Buffer.from(body), parameters)) as JsonObject;
}

/** The refusal of a request: its reason and the fields that it names. */
function refusal(method: string, target: string, body: string | Uint8Array = "") {
  const error = errorThrownBy(() => message(method, target, body));
  const refused = error instanceof ConnectError ? amendCodecError(error, true, true) : (error as DomainError);
  expect(refused).toBeInstanceOf(DomainError);
  expect(refused.message).not.toContain("kit_live");
  return [refused.reason, ...refused.violations.map(({ field }) => field)];
}

describe("a path's variable", () => {
  it.each([
    ["plain", "plain"],
    ["a%2Fb", "a/b"],
    ["a+b", "a+b"],
    ["%C3%A9%20", "é "],
    ["..", ".."],
    ["a%00b", "a\0b"],
    ["%25", "%"],
    ["a%3Ab", "a:b"],
    ["é", "é"],
  ])("%s is %j", (segment, name) => {
    expect(message("GET", `/v1/probes/${segment}`)).toEqual({ name });
  });

  it.each(["%", "%4", "%zz", "%ff", "%c3", "%ed%a0%80", "kit_live_%"])("%s is refused", (segment) => {
    expect(refusal("GET", `/v1/probes/${segment}`)).toEqual(["MESSAGE_INVALID"]);
  });

  it("may be a number", () => {
    expect(message("DELETE", "/v1/sizes/7")).toEqual({ pageSize: 7 });
    expect(refusal("DELETE", "/v1/sizes/kit_live_x")).toEqual(["MESSAGE_INVALID", "page_size"]);
  });
});

describe("a query", () => {
  it.each([
    ["", {}],
    ["&", {}],
    ["page_size=5", { pageSize: 5 }],
    ["pageSize=5", { pageSize: 5 }],
    ["page%5fsize=%35", { pageSize: 5 }],
    ["page_size=-5&is_on=true&", { pageSize: -5, isOn: true }],
    ["is_on=false", {}],
    ["tags=a&tags=b&tags=", { tags: ["a", "b", ""] }],
    ["tags=a%2Cb", { tags: ["a,b"] }],
    ["tags", { tags: [""] }],
    ["tags=a=b", { tags: ["a=b"] }],
    ["tags=a+b%20c", { tags: ["a+b c"] }],
    ["numbers=1&numbers=2", { numbers: [1, 2] }],
    ["color=COLOR_RED", { color: "COLOR_RED" }],
    ["color=2", { color: "COLOR_BLUE" }],
    ["color=77", { color: 77 }],
    ["start_time=2026-01-02T03:04:05Z", { startTime: "2026-01-02T03:04:05Z" }],
    ["startTime=2026-01-02T03:04:05.5+02:00", { startTime: "2026-01-02T01:04:05.500Z" }],
    ["wait=1.5s", { wait: "1.500s" }],
    ["update_mask=name,page_size", { updateMask: "name,pageSize" }],
    ["updateMask=name,pageSize", { updateMask: "name,pageSize" }],
    ["update_mask=pageSize,start_time,inner.inner", { updateMask: "pageSize,startTime,inner.inner" }],
    ["update_mask=", { updateMask: "" }],
    ["inner.id=x&inner.inner.size=3", { inner: { id: "x", inner: { size: 3 } } }],
    ["left=", { left: "" }],
    ["raw=AAEC", { raw: "AAEC" }],
    ["big=9007199254740993", { big: "9007199254740993" }],
    ["ratio=0.25", { ratio: 0.25 }],
  ])("%s is %j", (query, expected) => {
    expect(message("GET", `/v1/probes/p?${query}`)).toEqual({ name: "p", ...expected });
  });

  it.each([
    ["unknown=1"],
    ["kit_live_x"],
    ["=5"],
    ["name=q"],
    ["Page_size=1"],
    ["page_size.x=1"],
    ["inner=x"],
    ["inners=x"],
    ["inners.id=x"],
    ["labels=x"],
    ["labels.x=y"],
    ["start_time.seconds=5"],
    ["update_mask.paths=name"],
    ["__proto__=1"],
    ["constructor=1"],
    [`${"inner.".repeat(2000)}id=x`],
    ["%=1"],
    ["tags=%"],
    ["tags=%ff"],
  ])("%s is refused without a field's name", (query) => {
    expect(refusal("GET", `/v1/probes/p?${query}`)).toEqual(["MESSAGE_INVALID"]);
  });

  it.each([
    ["page_size=1&page_size=1", "page_size"],
    ["page_size=1&pageSize=2", "page_size"],
    ["page_size=", "page_size"],
    ["page_size=kit_live_x", "page_size"],
    ["page_size=99999999999", "page_size"],
    ["page_size=1.5", "page_size"],
    ["page_size=1.0", "page_size"],
    ["page_size=1e1", "page_size"],
    ["page_size=0x1", "page_size"],
    ["page_size=%201", "page_size"],
    ["is_on=1", "is_on"],
    ["is_on=TRUE", "is_on"],
    ["is_on=", "is_on"],
    ["numbers=1&numbers=x", "numbers"],
    ["color=COLOR_GREEN", "color"],
    ["color=9999999999", "color"],
    ["start_time=yesterday", "start_time"],
    ["wait=5", "wait"],
    ["update_mask=a_1", "update_mask"],
    ["left=a&right=b", "right"],
    ["inner.inner.size=x", "inner.inner.size"],
    ["raw=%F0%9F%92%A3", "raw"],
  ])("%s is refused with the name of the field", (query, field) => {
    expect(refusal("GET", `/v1/probes/p?${query}`)).toEqual(["MESSAGE_INVALID", field]);
  });

  it("is refused where the body is the whole message", () => {
    for (const query of ["page_size=1", "left=kit_live_x", "api_key=kit_live_x", "x"]) {
      expect(refusal("POST", `/v1/probes/p:rotate?${query}`, "{}")).toEqual(["MESSAGE_INVALID"]);
    }
    expect(message("POST", "/v1/probes/p:rotate?", "{}")).toEqual({ name: "p" });
  });

  it("can't reach into the field that the body is", () => {
    expect(refusal("PATCH", "/v1/inners/i?inner.size=1", "{}")).toEqual(["MESSAGE_INVALID"]);
    expect(refusal("PATCH", "/v1/inners/i?inner.inner.id=1", "{}")).toEqual(["MESSAGE_INVALID"]);
    expect(message("PATCH", "/v1/inners/i?updateMask=size&name=n", '{"size": 4}')).toEqual({
      ...{ name: "n", updateMask: "size", inner: { id: "i", size: 4 } },
    });
  });

  it("of thousands of values is read in time that grows with their number", () => {
    const query = Array.from({ length: 4000 }, () => "tags=").join("&");
    expect(message("GET", `/v1/probes/p?${query}`).tags).toHaveLength(4000);
  });
});

describe("a body", () => {
  it("takes fields in both spellings, and numbers as texts", () => {
    const body =
      '{"page_size": "5", "isOn": true, "big": 7, "startTime": "2026-01-02T03:04:05Z", "labels": {"a": "b"}}';
    expect(message("POST", "/v1/probes/p:rotate", body)).toEqual({
      ...{ name: "p", pageSize: 5, isOn: true, big: "7", startTime: "2026-01-02T03:04:05Z", labels: { a: "b" } },
    });
  });

  it("that is empty is {}", () => {
    expect(message("POST", "/v1/probes/p:rotate")).toEqual({ name: "p" });
    expect(message("PATCH", "/v1/inners/i")).toEqual({ inner: { id: "i" } });
  });

  it("may repeat the id of the path, and may not have another", () => {
    expect(message("POST", "/v1/probes/p:rotate", '{"name": "p"}')).toEqual({ name: "p" });
    expect(refusal("POST", "/v1/probes/p:rotate", '{"name": "q"}')).toEqual(["INVALID_FIELD", "name"]);
    expect(message("PATCH", "/v1/inners/i", '{"id": "i"}')).toEqual({ inner: { id: "i" } });
    expect(refusal("PATCH", "/v1/inners/i", '{"id": "j"}')).toEqual(["INVALID_FIELD", "inner.id"]);
  });

  it.each([
    ["null"],
    ["[]"],
    ['"kit_live_x"'],
    ["1"],
    ["{"],
    ["{} {}"],
    [" "],
    ['{"unknown": 1}'],
    ['{"kit_live_x": 1}'],
    ["["],
    ["[".repeat(60_000)],
    [`${'{"inner":'.repeat(200)}{}${"}".repeat(200)}`],
    [Buffer.from([0x7b, 0xff, 0x7d])],
  ])("%.40s is refused", (body) => {
    expect(refusal("POST", "/v1/probes/p:rotate", body)).toEqual(["MESSAGE_INVALID"]);
  });

  it.each([
    ['{"tags": "a"}', "tags"],
    ['{"tags": ["a"], "tags": ["b"]}', undefined],
    ['{"pageSize": 1, "page_size": 1}', "page_size"],
    ['{"is_on": "true"}', "is_on"],
    ['{"raw": "*"}', "raw"],
    ['{"inner": {"id": "\\ud800"}}', "id"],
    ['{"color": "COLOR_GREEN"}', undefined],
  ])("%s is refused with the name of the field where the reader knows it", (body, field) => {
    const names = field === undefined ? [] : [field];
    expect(refusal("POST", "/v1/probes/p:rotate", body)).toEqual(["MESSAGE_INVALID", ...names]);
  });
});
