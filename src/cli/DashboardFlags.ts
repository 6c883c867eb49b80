/** What `run` and `guard` share so that an operator can watch them: the flags of the dashboard, and the dashboard itself. */
import { Layer } from "effect"
import { Flag } from "effect/cli"
import * as Dashboard from "../dashboard/Dashboard.ts"
import * as NumberFlag from "./NumberFlag.ts"

/** A variable of the shell that is not set is empty, and would mean every address. */
const isNamed = (given: string) => given.trim() !== ""

export const flags = {
  dashboardPort: NumberFlag.port(
    "dashboard-port",
    `Port of the dashboard; 0 = none, default ${Dashboard.defaultPort}`,
  ).pipe(Flag.withDefault(Dashboard.defaultPort)),
  dashboardHost: Flag.String("dashboard-host").pipe(
    Flag.withDescription(
      `Address the dashboard listens on; default ${Dashboard.defaultHost}. Every program that can reach it sees everything`,
    ),
    Flag.withMetavar("HOST"),
    Flag.filter(isNamed, () => "an address, not an empty one"),
    Flag.withDefault(Dashboard.defaultHost),
  ),
  dashboardName: Flag.String("dashboard-name").pipe(
    Flag.withDescription("A name by which browsers may ask for the dashboard, beside localhost and --dashboard-host"),
    Flag.withMetavar("NAME"),
    Flag.filter(isNamed, () => "a name, not an empty one"),
    Flag.atLeast(0),
  ),
}

interface WatchInput {
  readonly dashboardPort: number
  readonly dashboardHost: string
  readonly dashboardName: ReadonlyArray<string>
}

/** Starts the dashboard on top of what runs in this scope, unless there is to be none. */
export const start = (
  { dashboardHost, dashboardName, dashboardPort }: WatchInput,
  watched: Pick<Dashboard.DashboardDatabasesOptions, "databases" | "engine" | "leadership">,
) =>
  dashboardPort === 0
    ? Layer.build(Layer.empty)
    : Layer.build(
        Dashboard.layerDatabases({
          ...watched,
          host: dashboardHost,
          port: dashboardPort,
          names: dashboardName,
        }),
      )
