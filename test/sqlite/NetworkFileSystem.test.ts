import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { detect, mountType, networkName } from "../../src/sqlite/NetworkFileSystem.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

const table = `/dev/sda1 / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
server:/export /mnt/share nfs4 rw,vers=4.2 0 0
//server/c /mnt/share\\040with\\040spaces cifs rw 0 0
user@host:/ /home/user/remote fuse.sshfs rw 0 0
/dev/fuse /home/user/local fuse.ntfs-3g rw 0 0
/dev/sdb1 /mnt/share/local xfs rw 0 0
C:\\134 /mnt/c 9p rw 0 0
/dev/sdc1 /mnt/covered ext4 rw 0 0
server:/x /mnt/covered nfs rw 0 0
`

const ext4 = 0xef53
const fuse = 0x65735546

describe("the mount table", () => {
  it.each([
    ["/data/a.db", "ext4"],
    ["/tmp/a.db", "tmpfs"],
    ["/tmporary/a.db", "ext4"],
    ["/mnt/share", "nfs4"],
    ["/mnt/share/deep/folder", "nfs4"],
    ["/mnt/share/local/folder", "xfs"],
    ["/mnt/share with spaces/x", "cifs"],
    ["/mnt/covered/x", "nfs"],
  ])("%s lies on %s", (path, type) => {
    expect(mountType(table, path)).toEqual(Option.some(type))
  })

  it("knows nothing when it is empty", () => {
    expect(mountType("", "/data")).toEqual(Option.none())
  })
})

describe("a network file system", () => {
  it.each([
    [0x6969, "nfs"],
    [0x517b, "smb"],
    [0xfe534d42, "smb2"],
    [0xff534d42, "cifs"],
    [0x01021997, "9p"],
  ])("is known by its type %i as %s, without a mount table", (magic, name) => {
    expect(networkName(magic, "", "/data")).toEqual(Option.some(name))
  })

  it("is known by the mount table where one type stands for many", () => {
    expect(networkName(fuse, table, "/home/user/remote/x")).toEqual(Option.some("fuse.sshfs"))
    expect(networkName(fuse, table, "/home/user/local/x")).toEqual(Option.none())
    expect(networkName(0, table, "/mnt/c/Users")).toEqual(Option.some("9p"))
  })

  it("is not a local disk", () => {
    expect(networkName(ext4, table, "/data")).toEqual(Option.none())
    expect(networkName(0, "", "/data")).toEqual(Option.none())
  })

  it.effect("is not where the tests run", () =>
    Effect.gen(function* () {
      expect(yield* detect(yield* TemporaryDatabase.folder)).toEqual(Option.none())
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )
})
