/** A real browser: Debian's Chromium without a window, and pages that keep a record of what went wrong on them. */
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import * as net from "node:net"
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core"

const found = () => {
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    try {
      return execFileSync("which", [name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim()
    } catch {
      // the next one
    }
  }
  return undefined
}

/** Undefined where there is none: `apt-get install chromium`. */
export const executablePath = process.env["CHROMIUM"] ?? found()

export const launch = () =>
  chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox", "--disable-dev-shm-usage"] })

export interface Recorded {
  readonly page: Page
  /** Errors of scripts, of the policy and of the network, but not that the server is gone. */
  readonly problems: ReadonlyArray<string>
  /** Every host that anything was asked of. */
  readonly hosts: ReadonlySet<string>
}

export const open = async (browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Recorded> => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  const page = await context.newPage()
  const problems: Array<string> = []
  const hosts = new Set<string>()
  page.on("console", (message) => {
    const text = message.text()
    const isGone = text.includes("net::ERR_CONNECTION_REFUSED") || text.includes("net::ERR_CONNECTION_RESET")
    if (["error", "warning"].includes(message.type()) && !isGone) problems.push(text)
  })
  page.on("pageerror", (error) => problems.push(String(error.stack)))
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on("request", (request) => hosts.add(new URL(request.url()).host))
  await page.goto(url)
  return { page, problems, hosts }
}

/** A port that was free a moment ago. */
export const freePort = async () => {
  const server = net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, "close")
  return port
}
