// Faults on purpose: the gate runs each tool on this file and fails when the tool finds nothing.
async function work(): Promise<void> {
  await Promise.resolve();
}

export function start(kind: "a" | "b"): number {
  work();
  switch (kind) {
    case "a":
      return 1;
  }
  const wrong: number = "text";
  return wrong;
}
