/** An engine in an Effect Cluster: `import { ClusterEngine } from "seawall/cluster"`; needs `@effect/sql-pg`. Each name is a module. */
export * as ClusterEngine from "./ClusterEngine.ts"
