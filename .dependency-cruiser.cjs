// The import rules of the architecture: folders may import only downwards (ARCHITECTURE.md, "The house").
const allowed = {
  flow: [],
  kernel: ['flow', 'native'],
  table: ['flow'],
  wire: ['flow'],
  replication: ['wire', 'table', 'flow'],
  channel: ['native'],
  failover: ['table', 'flow'],
  library: ['flow', 'kernel', 'native'],
  control: ['proto'],
  conntrack: ['flow', 'kernel', 'native'],
  cli: ['control', 'kernel', 'flow', 'daemon', 'conntrack', 'library', 'native'],
};
const folderRules = Object.entries(allowed).map(([folder, below]) => ({
  name: `${folder}-imports-downwards`,
  severity: 'error',
  from: { path: `^src/${folder}/` },
  to: {
    path: '^(src|native|proto|test)/',
    pathNot: [
      `^src/${folder}/`,
      '^src/limits\\.ts$',
      ...below.map((b) => (b === 'native' || b === 'proto' ? `^${b}/` : `^src/${b}/`)),
    ],
  },
}));
module.exports = {
  forbidden: [
    ...folderRules,
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'native-stands-alone',
      severity: 'error',
      from: { path: '^native/' },
      to: { path: '^(src|test)/' },
    },
    { name: 'limits-import-nothing', severity: 'error', from: { path: '^src/limits\\.ts$' }, to: {} },
    {
      name: 'koffi-only-in-native',
      severity: 'error',
      from: { pathNot: '^native/' },
      to: { path: 'node_modules/koffi' },
    },
    {
      name: 'src-never-imports-test',
      severity: 'error',
      from: { path: '^(src|native)/' },
      to: { path: '^test/' },
    },
    {
      name: 'the-core-is-pure',
      comment: 'kernel, network, clock and randomness reach the core as ports',
      severity: 'error',
      from: { path: '^src/(flow|table|wire|replication|failover)/' },
      to: { dependencyTypes: ['core'] },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node'],
    },
  },
};
