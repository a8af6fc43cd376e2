/** First halves of made-up names. */
export const adjectives: readonly string[] = (
  "able agile alert amber ample ancient arctic artful ashen astute autumn avid awake azure balmy " +
  "benign blithe bold bonny brave breezy bright brisk bronze calm candid canny cheery chipper civil " +
  "clear clever cobalt coral cosmic cosy crafty crisp curious dapper daring dashing deft dewy " +
  "diligent dreamy dusky eager earnest easy eloquent epic even exact fabled fair famous fearless " +
  "festive fiery fine firm fleet floral fluent fond frank free fresh frosty gallant genial gentle " +
  "gifted glad gleaming golden graceful grand grateful hardy hearty heroic honest hopeful humble " +
  "humming ideal indigo ivory jaunty jolly jovial joyful keen kind lasting lavish leafy limber " +
  "lively loyal lucid lucky lunar lush mellow merry mighty mild mindful misty modest mossy neat " +
  "nimble noble novel open orderly pacific patient peppy placid plucky polite proud prudent quick " +
  "quiet radiant rapid ready regal robust rosy rustic sage sandy savvy serene sharp shining silent " +
  "silver sincere sleek smart snug solar solid spry stable starry steady stellar stoic sturdy " +
  "sunny sure swift tidy tranquil trusty upbeat valiant velvet vivid warm wary wise witty zesty"
).split(" ");

/** Second halves: people of science, navigation and craft. */
export const surnames: readonly string[] = (
  "abel airy alhazen ampere amundsen anning apgar archimedes aristotle arrhenius aryabhata avicenna " +
  "avogadro baird banneker banting barbour bardeen bassi beaufort becquerel bell bernoulli bessel " +
  "biruni bjerknes boltzmann bolyai boole born bose bowditch boyle brahe brahmagupta braille bragg " +
  "brunel buffon cabot cannon cantor carnot carson carver cassini cauchy cavendish cayley celsius " +
  "chandra chatelet clausius cook copernicus cori coriolis coulomb cousteau crick curie cuvier " +
  "daguerre dalton darwin davy descartes dewar diesel dijkstra dirac doppler drake dyson eddington " +
  "edison einstein elion eratosthenes erdos euclid euler fahrenheit faraday fermat fermi feynman " +
  "fibonacci fleming foucault fourier franklin fraunhofer fresnel frobenius fulton galilei galois " +
  "galvani gauss geiger germain gibbs goddard goodall gutenberg haber hadamard halley hamilton " +
  "harrison harvey hawking heaviside heisenberg helmholtz henry herschel hertz hilbert hipparchus " +
  "hippocrates hodgkin hooke hopper hubble humboldt hutton huygens hypatia jacobi jenner jocelyn " +
  "joule kelvin kepler khayyam kirchhoff koch kovalevsky lagrange lamarr landau laplace lavoisier " +
  "leavitt leeuwenhoek leibniz lenz leonardo liebig linnaeus lister lorentz lovelace lyell magellan " +
  "mandelbrot marconi markov maury maxwell mayer mcclintock meitner mendel mendeleev mercator " +
  "michelson millikan minkowski mirzakhani montgolfier morse nansen napier nash newcomen newton " +
  "nightingale nobel noether oersted ohm oppenheimer papin pascal pasteur pauli pauling payne " +
  "perlman planck pliny poincare poisson priestley ptolemy pythagoras raman ramanujan rayleigh " +
  "riemann roemer rontgen rosalind rutherford sagan salk scheele schrodinger seaborg shannon " +
  "siemens snell somerville stevens stokes strutt swan tereshkova tesla thales torricelli turing " +
  "urey venn volta wallace watt weber wegener whitney wiener wren yalow young yukawa zeppelin zuse"
).split(" ");
