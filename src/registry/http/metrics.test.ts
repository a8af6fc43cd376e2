import { expect, test } from "bun:test";
import { Metrics } from "./metrics.ts";

const request = {
  operation: "blob",
  method: "GET",
  status: 200,
  durationMs: 30,
  receivedBytes: 5,
  sentBytes: 7,
} as const;

test("figures are rendered as Prometheus reads them", () => {
  const metrics = new Metrics([{ name: "x_bytes", help: "Some.", read: () => 42 }]);
  metrics.begin();
  metrics.begin();
  metrics.begin();
  metrics.end(request);
  metrics.end({ ...request, status: 404, durationMs: 200_000 });
  const lines = metrics.render().split("\n");
  for (const line of [
    'tug_registry_requests_total{operation="blob",method="GET",code="200"} 1',
    'tug_registry_requests_total{operation="blob",method="GET",code="404"} 1',
    'tug_registry_request_duration_seconds_bucket{operation="blob",le="0.025"} 0',
    'tug_registry_request_duration_seconds_bucket{operation="blob",le="0.1"} 1',
    'tug_registry_request_duration_seconds_bucket{operation="blob",le="120"} 1',
    'tug_registry_request_duration_seconds_bucket{operation="blob",le="+Inf"} 2',
    'tug_registry_request_duration_seconds_count{operation="blob"} 2',
    "tug_registry_received_bytes_total 10",
    "tug_registry_sent_bytes_total 14",
    "tug_registry_requests_open 1",
    "# TYPE x_bytes gauge",
    "x_bytes 42",
  ]) {
    expect(lines).toContain(line);
  }
  for (const line of lines)
    expect(line).toMatch(/^$|^# (?:HELP|TYPE) \w+ .+$|^\w+(?:\{.+\})? [\d.]+$/);
});
