/**
 * A registry in which this build is published: it knows `seawall`, and sends requests for anything else to the registry that
 * npm is configured with. With it the README's line for installing can be run as it stands.
 */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import * as fs from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"

export interface LocalRegistry {
  readonly url: string
  readonly close: () => void
}

/** Publishes the tarball there. */
export const start = async (tarball: string): Promise<LocalRegistry> => {
  const bytes = fs.readFileSync(tarball)
  const manifest = JSON.parse(
    execFileSync("tar", ["-xzOf", tarball, "package/package.json"], { encoding: "utf8" }),
  ) as Readonly<Record<string, unknown>> & { readonly version: string }
  const elsewhere = execFileSync("npm", ["config", "get", "registry"], { encoding: "utf8" }).trim().replace(/\/$/, "")
  const file = `/seawall/-/${path.basename(tarball)}`
  const server = createServer((request, response) => {
    if (request.url === file) return response.end(bytes)
    if (request.url !== "/seawall") return response.writeHead(302, { location: `${elsewhere}${request.url}` }).end()
    const integrity = `sha512-${createHash("sha512").update(bytes).digest("base64")}`
    const published = { ...manifest, dist: { tarball: `http://${request.headers.host}${file}`, integrity } }
    response.setHeader("content-type", "application/json")
    return response.end(
      JSON.stringify({
        name: "seawall",
        "dist-tags": { latest: manifest.version },
        versions: { [manifest.version]: published },
      }),
    )
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
