/** One binary: picks what to be by the first word, and loads only that. */
const [, , word = "", ...rest] = process.argv;

switch (word) {
  default:
    console.log(word, rest);
}
