/** A file system of a fixed size, which can be full. Only root may mount one. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

/** Puts one on a folder, of so many KiB. */
export const mount = (folder: string, kib: number): boolean =>
  spawnSync("mount", ["-t", "tmpfs", "-o", `size=${kib}k`, "tmpfs", folder]).status === 0

/** Takes it away again; nothing happens to a folder that has none. */
export const unmount = (folder: string) => void spawnSync("umount", ["-l", folder])

/** The same, but what is on it stays in the folder: looking at a database needs room. */
export const moveOut = (folder: string) => {
  const aside = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-aside-"))
  fs.cpSync(folder, aside, { recursive: true })
  unmount(folder)
  fs.cpSync(aside, folder, { recursive: true })
  fs.rmSync(aside, { recursive: true })
}

/** Fills what is left, to the last page; removing the file makes room again. */
export const fill = (file: string) => {
  const descriptor = fs.openSync(file, "w")
  try {
    for (;;) fs.writeSync(descriptor, Buffer.alloc(4096))
  } catch {
    // full
  } finally {
    fs.closeSync(descriptor)
  }
}

/** Whether it can be had here. */
export const isPossible = (() => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-mount-"))
  const can = mount(folder, 64)
  if (can) unmount(folder)
  fs.rmdirSync(folder)
  return can
})()
