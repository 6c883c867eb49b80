/** What pages that listen to the dashboard cost who writes. */
import { spawnSync } from "node:child_process"
import * as path from "node:path"
import type { DashboardCase, DashboardFigures } from "./dashboard.ts"
import { cells, median, medianSpread, table } from "./figures.ts"
import { here, rounds, show, values } from "./options.ts"

/** The same writer without a dashboard, with one, and with pages that listen. */
const dashboards = { "no dashboard": undefined, "0 pages": 0, "50 pages": 50 } as const

const runDashboard = (pages: number | undefined): DashboardFigures => {
  const it: DashboardCase = { pages, rate: 2_000, seconds: 20 }
  const ended = spawnSync(process.execPath, [path.join(here, "dashboard.ts"), JSON.stringify(it)], { encoding: "utf8" })
  if (ended.status !== 0) throw new Error(ended.stderr)
  return JSON.parse(ended.stdout) as DashboardFigures
}
const measureDashboards = () => {
  const runs = Object.entries(dashboards).map(([name, pages]) => ({
    name,
    pages,
    figures: new Array<DashboardFigures>(),
  }))
  for (let round = 1; round <= rounds; round++) {
    for (const { figures, name, pages } of runs) {
      process.stderr.write(`dashboard, 2000 commits/s: ${name}, round ${round} of ${rounds}\n`)
      figures.push(runDashboard(pages))
    }
  }
  return runs.map(({ figures, name }) => ({
    name,
    commit: medianSpread(figures.map(({ commit }) => commit)),
    loop: medianSpread(figures.map(({ loop }) => loop)),
    ticks: median(figures.map(({ ticks }) => ticks)),
    rssMb: median(figures.map(({ rssMb }) => rssMb)),
  }))
}

export const pages = () => {
  const dashboardResults = !values.quick && "dashboard, 2000 commits/s".includes(values.only) ? measureDashboards() : []
  if (dashboardResults.length > 0) {
    const lines = dashboardResults.map(({ commit, loop, name, rssMb, ticks }) => [
      name,
      cells(commit),
      cells(loop),
      ticks,
      rssMb.toFixed(0),
    ])
    const header = ["who watches", "commit p50 / p99 / p99.9 / max ms", "event loop, the same", "ticks heard", "MB"]
    show("dashboard, 2000 commits/s", table(header, lines))
  }
  return dashboardResults
}
