/**
 * The page in a real browser, over a real session and a real guard.
 *
 * With SEAWALL_SCREENSHOTS=1 the two pictures beside this file are taken again.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { Effect, Exit, Layer, Logger, Option, Scope } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import type { Browser, Page } from "playwright-core"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import type * as DatabaseSource from "../../src/dashboard/DatabaseSource.ts"
import * as LiveLog from "../../src/dashboard/LiveLog.ts"
import { executablePath, freePort, launch, open } from "../support/Browser.ts"
import { loading, start } from "../support/Seawall.ts"
import { blockedBy, scripted } from "../support/Watched.ts"

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))

const takesPictures = process.env["SEAWALL_SCREENSHOTS"] === "1"

/** A picture shows something after a while only. */
const wait = (seconds: number) => new Promise((resolve) => setTimeout(resolve, takesPictures ? seconds * 1000 : 0))

const picture = async (page: Page, name: string, height: number) => {
  if (!takesPictures) return
  await page.setViewportSize({ width: page.viewportSize()!.width, height })
  await page.screenshot({ path: here(name) })
}

/** Ten ticks a second, a checkpoint five times a second. */
const quick = {
  SEAWALL_ENGINE_DATABASE: "session.db",
  SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.1",
  SEAWALL_STRATEGY_REQUOTE_INTERVAL_SECONDS: "0.1",
  SEAWALL_ENGINE_WAL_CHECKPOINT_INTERVAL_SECONDS: "0.2",
  SEAWALL_ENGINE_BACKUPS: "0",
}
const slow = loading("slowCheckpoint")

let folder = ""
let browser: Browser
const running: Array<() => unknown> = []

const seawall = (port: number, args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) => {
  const program = start([...args, "--log-format", "json", "--dashboard-port", String(port)], { cwd: folder, env })
  running.push(() => program.kill("SIGKILL"))
  return program
}

/** Another program that holds its snapshot. */
const foreignReader = async (name: string) => {
  const child = spawn("python3", [
    "-c",
    `import sqlite3, sys
c = sqlite3.connect(${JSON.stringify(path.join(folder, name))}, isolation_level=None)
c.execute("BEGIN"); c.execute("SELECT count(*) FROM sqlite_schema").fetchall()
print("ready", flush=True)
sys.stdin.read()`,
  ])
  running.push(() => child.kill("SIGKILL"))
  await once(child.stdout, "data")
  return { pid: child.pid!, end: () => child.stdin.end() }
}

const term = (page: Page, list: string, name: string) =>
  page
    .locator(`${list} > div`)
    .filter({ has: page.getByText(name, { exact: true }) })
    .locator("dd")

const says = async (page: Page, list: string, name: string, text: string | RegExp) => {
  await term(page, list, name).filter({ hasText: text }).waitFor()
}

const connection = (page: Page, text: string) => page.locator("#connection", { hasText: text }).waitFor()

const patience = takesPictures ? 180_000 : 60_000
const settings = { timeout: patience }

describe.skipIf(executablePath === undefined)("the page (needs Chromium: apt-get install chromium)", () => {
  beforeAll(async () => {
    browser = await launch()
  }, patience)
  afterAll(() => browser.close())
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-browser-"))
  })
  afterEach(async () => {
    for (const kill of running.splice(0)) kill()
    for (const context of browser.contexts()) await context.close()
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })

  it(
    "shows a session as it goes: numbers move, who is blocking has its pid, a slow checkpoint stands out",
    settings,
    async () => {
      const port = await freePort()
      const session = seawall(port, ["run"], { ...quick, ...slow })
      await session.says('message":"dashboard"')
      const { hosts, page, problems } = await open(browser, `http://127.0.0.1:${port}/`)
      page.setDefaultTimeout(patience / 2)
      await says(page, "#strip", "Engine", "RUNNING")
      await says(page, "#strip", "Health", "healthy")
      await page.locator("#log-list li.slow", { hasText: "wal_checkpoint slow" }).first().waitFor()

      const ticks = await term(page, "#strip", "Ticks").textContent()
      await term(page, "#strip", "Ticks").filter({ hasNotText: ticks! }).waitFor()
      await says(page, "#figures", "XRP", /^[\d,.]+ XRP$/)
      await says(page, "#figures", "PnL", "RLUSD")
      await page.locator("#engine-figures-title", { hasText: "Paper balances" }).waitFor()
      await page
        .getByText(/^p50 [\d.,]+ ms, p95 [\d.,]+ ms, max [\d.,]+ ms of all runs \(last \d+, \d+ slow\)$/)
        .waitFor()
      expect(await page.locator(".chart canvas").count()).toBe(3)
      await says(page, "#strip", "WAL", /^[\d,]+ frames \([\d.]+ (?:B|KiB|MiB)\)$/)
      await says(page, "#strip", "Loss window", "nothing to lose")
      await says(page, "#details", "Durability", "durable")
      await says(page, "#details", "Free on the disk", "iB")
      await says(page, "#details", "Commit p50, p99", /^≤ /)

      await wait(50)
      const reader = await foreignReader("session.db")
      await page.locator("#blockers td", { hasText: String(reader.pid) }).waitFor()
      await page.locator("#blockers td", { hasText: "python3" }).waitFor()
      await page.locator("#log-list li.blocked", { hasText: `pid ${reader.pid}` }).waitFor()
      await page.locator("#reasons li", { hasText: `blocked: ReaderBlocked` }).first().waitFor()
      await page.locator("#reasons code", { hasText: "seawall status session.db" }).first().waitFor()
      await page.locator("#incident-rows tr.bad", { hasText: "still so" }).first().waitFor()
      const { status } = await page.request
        .get(`http://127.0.0.1:${port}/health`)
        .then((it) => ({ status: it.status() }))
      expect(status).toBe(503)
      await wait(4)
      await picture(page, "dashboard-light.png", 1200)

      reader.end()
      await page.getByText("Nothing is blocking checkpoints.").waitFor()
      // What was is not forgotten, whatever the log says since.
      await page
        .locator("#incident-rows tr", { hasText: `pid ${reader.pid}` })
        .filter({ hasNotText: "still so" })
        .waitFor()
      await says(page, "#strip", "Health", "healthy")
      session.kill("SIGTERM")
      expect((await session.ended).code).toBe(0)
      expect(problems).toEqual([])
      expect([...hosts]).toEqual([`127.0.0.1:${port}`])
    },
  )

  it("says that it is stale and why, and goes on by itself after a restart", settings, async () => {
    const port = await freePort()
    const first = seawall(port, ["run"], quick)
    await first.says('message":"dashboard"')
    const { page, problems } = await open(browser, `http://127.0.0.1:${port}/`)
    page.setDefaultTimeout(patience / 2)
    await says(page, "#strip", "Session", "#1")
    const before = performance.now()
    first.kill("SIGTERM")
    const ended = await first.ended
    expect(ended.code).toBe(0)
    expect(performance.now() - before).toBeLessThan(10_000) // an open page does not hold it up
    expect(ended.log.map(({ message }) => message)).not.toContain("shutdown incomplete")
    await page.getByRole("alert").filter({ hasText: "The session ended (interrupted_sigterm)" }).waitFor()
    await connection(page, "ended")
    await says(page, "#strip", "Engine", "ended")

    seawall(port, ["run"], quick)
    await connection(page, "live")
    await says(page, "#strip", "Session", "#2")
    await says(page, "#strip", "Last halt reason", "interrupted_sigterm")
    expect(await page.getByRole("alert").isHidden()).toBe(true)
    await page.locator("#log-list .note", { hasText: "another run of the program" }).waitFor()
    expect(problems).toEqual([])
  })

  it("says that it is stale when the program stands still", settings, async () => {
    const port = await freePort()
    const session = seawall(port, ["run"], quick)
    await session.says('message":"dashboard"')
    const { page } = await open(browser, `http://127.0.0.1:${port}/`)
    page.setDefaultTimeout(patience / 2)
    await connection(page, "live")
    session.kill("SIGSTOP")
    await connection(page, "stale")
    await page.getByRole("alert").filter({ hasText: "The program does not answer" }).waitFor()
    session.kill("SIGCONT")
    await connection(page, "live")
    expect(await page.getByRole("alert").isHidden()).toBe(true)
  })

  it("lists the databases of a guard, worst first, and each opens by keyboard", settings, async () => {
    for (const name of ["a.db", "b.db", "c.db"]) {
      const database = new DatabaseSync(path.join(folder, name))
      database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
      database.close()
    }
    const port = await freePort()
    const guard = seawall(port, ["guard", "--interval-seconds", "0.2", "a.db", "b.db", "c.db"])
    await guard.says('message":"dashboard"')
    const { page, problems } = await open(browser, `http://127.0.0.1:${port}/`)
    page.setDefaultTimeout(patience / 2)
    const rows = page.locator("#list tbody tr")
    await rows.nth(2).waitFor()
    const reader = await foreignReader("c.db")
    const writer = new DatabaseSync(path.join(folder, "c.db"))
    writer.exec("PRAGMA wal_autocheckpoint = 0; INSERT INTO t VALUES (1)")
    await rows
      .first()
      .filter({ hasText: "c.db" })
      .filter({ hasText: `pid ${reader.pid}` })
      .waitFor()

    await page.getByRole("button", { name: "Database" }).focus()
    await page.keyboard.press("Enter")
    expect(await rows.locator("a").allTextContents()).toEqual(["a.db", "b.db", "c.db"])
    await page.keyboard.press("Enter")
    expect(await rows.locator("a").allTextContents()).toEqual(["c.db", "b.db", "a.db"])
    await rows.first().locator("a").focus()
    await page.keyboard.press("Enter")
    await page.locator("#view-title", { hasText: "c.db" }).waitFor()
    await page.locator("#blockers td", { hasText: String(reader.pid) }).waitFor()
    await page.reload()
    await page.locator("#view-title", { hasText: "c.db" }).waitFor()
    expect(await page.locator("#list").isHidden()).toBe(true)
    await page.getByRole("link", { name: "Databases" }).press("Enter")
    await rows.nth(2).waitFor()
    writer.close()
    reader.end()
    expect(problems).toEqual([])
  })

  it("filters, searches and holds its log, from the keyboard too", settings, async () => {
    const watched = await inProcess(scripted("app.db").watched)
    const { page, problems } = await open(browser, watched.url)
    page.setDefaultTimeout(patience / 2)
    const list = page.locator("#log-list li")
    watched.log("wal_checkpoint slow", { elapsed_ms: 300 }, "Warn")
    watched.log("paper fill", { side: "buy" }, "Info")
    await list.filter({ hasText: "paper fill" }).waitFor()
    await page.keyboard.press("/")
    await page.keyboard.type("ELAPSED_MS=300")
    expect(await list.allTextContents()).toEqual([expect.stringContaining("wal_checkpoint slow")])
    await page.keyboard.press("Escape")
    await page.getByLabel("Level").selectOption("WARN")
    await list.filter({ hasText: "paper fill" }).waitFor({ state: "detached" })
    await page.getByLabel("Level").selectOption("INFO")
    await page.locator("#log-list").focus()
    await page.keyboard.press("p")
    watched.log("while paused", {}, "Info")
    await page.locator("#log-count", { hasText: "paused, 1 new" }).waitFor()
    expect(await list.filter({ hasText: "while paused" }).count()).toBe(0)
    await page.getByRole("button", { name: "Resume" }).click()
    await list.filter({ hasText: "while paused" }).waitFor()
    expect(problems).toEqual([])
    await watched.close()
  })

  it("shows hostile names, figures, processes and lines as the text they are", settings, async () => {
    const hostile = `<img src=x onerror="alert(1)"><script>alert(2)</script>&amp;`
    const database = scripted(hostile)
    database.know({ incident: Option.some(blockedBy(1, hostile)), failures: 1 })
    const watched = await inProcess(database.watched, scripted("other.db").watched)
    const { hosts, page, problems } = await open(browser, watched.url)
    page.setDefaultTimeout(patience / 2)
    watched.log(hostile, { [hostile]: hostile }, "Error")
    await page.locator("#log-list b", { hasText: hostile }).waitFor()
    await page.locator("#reasons li", { hasText: hostile }).first().waitFor()
    await page.locator("#list tbody a", { hasText: hostile }).click()
    await page.locator("#view-title", { hasText: hostile }).waitFor()
    await page.locator("#blockers td", { hasText: hostile }).waitFor()
    await page.locator("#figures dt", { hasText: hostile }).waitFor()
    await page.locator("#engine-figures-title", { hasText: hostile }).waitFor()
    await says(page, "#strip", "Last halt reason", hostile)
    expect(await page.locator("img, body script").count()).toBe(0)
    expect(await page.title()).toContain(hostile)
    expect(problems).toEqual([])
    expect([...hosts]).toEqual([new URL(watched.url).host])
    await watched.close()
  })

  it("has a card for each database on a telephone", settings, async () => {
    const database = scripted("a-database-with-a-long-name.db")
    database.know({ incident: Option.some(blockedBy(4711, "python3 report.py --daily")) })
    const watched = await inProcess(database.watched, scripted("other.db").watched)
    const { page, problems } = await open(browser, watched.url, { viewport: { width: 375, height: 700 } })
    page.setDefaultTimeout(patience / 2)
    await page.locator("#list td", { hasText: "blocked by" }).waitFor()
    const looks = `[...document.querySelectorAll("#list tbody tr")].map((row) => ({ right: row.getBoundingClientRect().right,
      overflow: document.documentElement.scrollWidth, lines: row.querySelector("td").getBoundingClientRect().height }))`
    for (const { lines, overflow, right } of (await page.evaluate(looks)) as ReadonlyArray<Record<string, number>>) {
      expect(right).toBeLessThanOrEqual(375)
      expect(overflow).toBeLessThanOrEqual(375)
      expect(lines).toBeLessThan(60) // of words, not of letters
    }
    const label = `getComputedStyle(document.querySelector("#list td:nth-child(3)"), "::before").content`
    expect(await page.evaluate(label)).toContain("WAL")
    expect(problems).toEqual([])
    await watched.close()
  })

  it("loads and runs nothing but its own files, and says so where something else is tried", settings, async () => {
    const watched = await inProcess(scripted("app.db").watched)
    const { page, problems } = await open(browser, watched.url)
    page.setDefaultTimeout(patience / 2)
    await connection(page, "live")
    await page.locator(".chart canvas").nth(2).waitFor()
    expect(problems).toEqual([])
    const loaded = `performance.getEntriesByType("resource").map(({ name }) => new URL(name).pathname).toSorted()`
    expect(new Set((await page.evaluate(loaded)) as Array<string>)).toEqual(
      new Set([
        "/api/history", // the stream is listed when it ends
        ...[
          "charts.js",
          "databases.js",
          "dom.js",
          "log.js",
          "main.js",
          "page.css",
          "plot.js",
          "uPlot.css",
          "uPlot.js",
          "view.css",
          "view.js",
        ].map((name) => `/page/${name}`),
      ]),
    )
    const tried = await page.evaluate(`(async () => {
      const refused = []
      document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => refused.push(effectiveDirective))
      const script = document.createElement("script")
      try { script.text = "globalThis.ran = true" } catch { refused.push("script.text") }
      try { document.body.innerHTML = "<b>x</b>" } catch { refused.push("innerHTML") }
      const style = document.createElement("style")
      style.textContent = "body { display: none }"
      const marked = document.createElement("p")
      marked.setAttribute("style", "color: red")
      document.body.append(style, marked)
      await fetch("http://localhost:1/").catch(() => refused.push("fetch"))
      await new Promise((resolve) => setTimeout(resolve, 100))
      try { eval("globalThis.ran = true") } catch { refused.push("eval") } // what asks this from outside may, up to here
      return { refused: [...new Set(refused)].toSorted(), ran: globalThis.ran === true, shown: getComputedStyle(document.body).display }
    })()`)
    expect(tried).toEqual({
      refused: [
        "connect-src",
        "eval",
        "fetch",
        "innerHTML",
        "require-trusted-types-for",
        "script.text",
        "style-src-attr",
        "style-src-elem",
      ],
      ran: false,
      shown: "block",
    })
    expect(problems.length).toBeGreaterThan(0) // so what the policy refuses is seen by each test here
    await watched.close()
  })

  it(
    "says that checkpoints fail, and keeps the database open when the keyboard skips to the log",
    settings,
    async () => {
      const failing = scripted("b.db")
      failing.know({ failures: 2 })
      const watched = await inProcess(scripted("a.db").watched, failing.watched)
      const { page, problems } = await open(browser, watched.url)
      page.setDefaultTimeout(patience / 2)
      await page.locator("#list tbody a", { hasText: "b.db" }).click()
      await page.locator("#blockers", { hasText: "Nothing is blocking, but the last 2 checkpoints failed" }).waitFor()
      await page.locator("#skip").focus()
      await page.keyboard.press("Enter")
      expect(await page.evaluate("document.activeElement.id")).toBe("log-list")
      expect(new URL(page.url()).hash).toBe("#db=b.db")
      expect(await page.locator("#view-title").textContent()).toBe("b.db")
      expect(problems).toEqual([])
      await watched.close()
    },
  )

  it("shows what a hostile feed says as text", settings, async () => {
    const port = await freePort()
    const session = seawall(port, ["run", "--feed", "-"], quick)
    await session.says('message":"dashboard"')
    session.write(`{"bid": "<img src=x onerror=alert(1)>", "</script><b>": 1}\n{"bid": 0.5, "ask": 0.51}\n`)
    const { page, problems } = await open(browser, `http://127.0.0.1:${port}/`)
    page.setDefaultTimeout(patience / 2)
    await page.locator("#log-list li", { hasText: "feed line refused" }).waitFor()
    expect(await page.locator("img").count()).toBe(0)
    expect(problems).toEqual([])
  })

  it("fits 375 pixels in the dark", settings, async () => {
    const port = await freePort()
    const session = seawall(port, ["run"], quick)
    await session.says('message":"dashboard"')
    const narrow = { viewport: { width: 375, height: 812 }, colorScheme: "dark" } as const
    const { page, problems } = await open(browser, `http://127.0.0.1:${port}/`, narrow)
    page.setDefaultTimeout(patience / 2)
    await says(page, "#strip", "Engine", "RUNNING")
    await page.locator("#log-list li").nth(5).waitFor()
    const look = await page.evaluate(`({
      width: document.documentElement.scrollWidth,
      back: getComputedStyle(document.body).backgroundColor,
      chart: document.querySelector(".chart canvas").getBoundingClientRect().width,
    })`)
    expect(look).toEqual({ width: 375, back: "rgb(13, 17, 23)", chart: expect.closeTo(330, -2) })
    await wait(30)
    await picture(page, "dashboard-dark-narrow.png", 1500)
    expect(problems).toEqual([])
  })
})

/** A dashboard in this process, over databases and an engine that do what the test says. */
const inProcess = async (...databases: ReadonlyArray<DatabaseSource.Watched>) => {
  const scope = Scope.makeUnsafe()
  const engine = Effect.succeed({
    session_id: 1,
    status: "RUNNING",
    ticks: 1,
    halt_reason: null,
    last_halt_reason: databases[0]!.name,
    title: databases[0]!.name,
    figures: [{ name: "hostile", label: databases[0]!.name, value: 1, unit: databases[0]!.name, is_gain: false }],
  } as const)
  const context = await Effect.runPromise(
    Dashboard.layerDatabases({ port: 0, databases, engine }).pipe(
      Layer.provideMerge(LiveLog.layer),
      Layer.provideMerge(Logger.layer([])),
      Layer.buildWithScope(scope),
    ),
  )
  const { url } = await Effect.runPromise(Effect.provideContext(Dashboard.Dashboard, context))
  return {
    url: Option.getOrThrow(url),
    log: (event: string, fields: Readonly<Record<string, unknown>>, level: "Info" | "Warn" | "Error") =>
      Effect.runSync(
        Effect.logWithLevel(level)(event).pipe(Effect.annotateLogs(fields), Effect.provideContext(context)),
      ),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}
