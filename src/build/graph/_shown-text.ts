/**
 * An instruction as progress shows it: variables that have a value are replaced, everything else
 * stays as it is written.
 */
export function shownText(text: string, env: ReadonlyMap<string, string>): string {
  const replaced = text.replace(
    /\\\$|\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})/g,
    (whole, plain: string | undefined, braced: string | undefined) =>
      env.get(plain ?? braced ?? "") ?? whole,
  );
  return replaced.length > shownCharsMax ? `${replaced.slice(0, shownCharsMax)}…` : replaced;
}

/** Longest name of a step, in characters. */
const shownCharsMax = 16 * 1024;
