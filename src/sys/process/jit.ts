/** When the runtime makes machine code of what it interprets. */

/**
 * Has code compiled as soon as it pays for a process that lives on.
 *
 * The executable begins reluctantly (`jitPolicy` of tools/build.ts): compiling what a short command runs
 * a few hundred times takes longer than running it.
 */
export function compileReadily(): void {
  Bun.unsafe.setJITPolicy(1);
}
