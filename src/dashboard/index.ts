/** What an operator watches, in a browser: `import { Dashboard, LiveLog } from "seawall/dashboard"`. Each name is a module. */
export * as Dashboard from "./Dashboard.ts"
export * as LiveLog from "./LiveLog.ts"
export * as Snapshot from "./Snapshot.ts"
