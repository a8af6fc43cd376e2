/** Figures for Prometheus. @see Prometheus, "Text-based format" */

/** Upper bounds of the buckets of durations. */
const bucketsS = [0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120] as const;

/** What is counted of each request. */
export interface ServedRequest {
  /** From the closed list of operations: never a name that a client chose. */
  readonly operation: string;
  readonly method: string;
  readonly status: number;
  readonly durationMs: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** A figure that is asked for when it is wanted. */
export interface Gauge {
  readonly name: string;
  readonly help: string;
  read(): number;
}

interface Histogram {
  readonly counts: number[];
  count: number;
  sumS: number;
}

/** Counts requests and renders all figures. */
export class Metrics {
  readonly #gauges: readonly Gauge[];
  readonly #requests = new Map<string, number>();
  readonly #durations = new Map<string, Histogram>();
  #receivedBytes = 0;
  #sentBytes = 0;
  #openCount = 0;

  constructor(gauges: readonly Gauge[]) {
    this.#gauges = gauges;
  }

  /** A request has begun. */
  begin(): void {
    this.#openCount += 1;
  }

  /** It has ended. */
  end(request: ServedRequest): void {
    const { operation, method, status } = request;
    this.#openCount -= 1;
    this.#receivedBytes += request.receivedBytes;
    this.#sentBytes += request.sentBytes;
    const labels = `operation="${operation}",method="${method}",code="${status}"`;
    this.#requests.set(labels, (this.#requests.get(labels) ?? 0) + 1);
    const durationS = request.durationMs / 1000;
    const histogram = this.#histogram(operation);
    histogram.count += 1;
    histogram.sumS += durationS;
    for (const [index, bound] of bucketsS.entries()) {
      if (durationS <= bound) histogram.counts[index] = (histogram.counts[index] ?? 0) + 1;
    }
  }

  /** All figures in the text format. */
  render(): string {
    const lines: string[] = [];
    const family = (name: string, kind: string, help: string): void => {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
    };
    family("tug_registry_requests_total", "counter", "Requests that were answered.");
    for (const [labels, count] of this.#requests) {
      lines.push(`tug_registry_requests_total{${labels}} ${count}`);
    }
    family("tug_registry_request_duration_seconds", "histogram", "How long requests took.");
    for (const [operation, { counts, count, sumS }] of this.#durations) {
      const name = "tug_registry_request_duration_seconds";
      for (const [index, bound] of bucketsS.entries()) {
        const value = counts[index] ?? 0;
        lines.push(`${name}_bucket{operation="${operation}",le="${bound}"} ${value}`);
      }
      lines.push(`${name}_bucket{operation="${operation}",le="+Inf"} ${count}`);
      lines.push(`${name}_sum{operation="${operation}"} ${sumS}`);
      lines.push(`${name}_count{operation="${operation}"} ${count}`);
    }
    family("tug_registry_received_bytes_total", "counter", "Bytes of the bodies of requests.");
    lines.push(`tug_registry_received_bytes_total ${this.#receivedBytes}`);
    family("tug_registry_sent_bytes_total", "counter", "Bytes of the bodies of answers.");
    lines.push(`tug_registry_sent_bytes_total ${this.#sentBytes}`);
    family("tug_registry_requests_open", "gauge", "Requests that are being served.");
    lines.push(`tug_registry_requests_open ${this.#openCount}`);
    for (const { name, help, read } of this.#gauges) {
      family(name, "gauge", help);
      lines.push(`${name} ${read()}`);
    }
    return `${lines.join("\n")}\n`;
  }

  #histogram(operation: string): Histogram {
    const found = this.#durations.get(operation);
    if (found !== undefined) return found;
    const made = { counts: bucketsS.map(() => 0), count: 0, sumS: 0 };
    this.#durations.set(operation, made);
    return made;
  }
}
