"""A program that writes a database without any checkpoint of its own: FILE COMMITS_A_SECOND SECONDS; 0 = without a pause.

Prints one JSON line: every commit's latency as a spread, in milliseconds, how many there were, and the longest log.
"""
import json, os, sqlite3, sys, time

file, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
c = sqlite3.connect(file, isolation_level=None)
for setting in ("journal_mode = WAL", "wal_autocheckpoint = 0", "synchronous = NORMAL"):
    c.execute(f"PRAGMA {setting}")
c.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT)")
text = "x" * 1000
latencies, longest, start, n = [], 0, time.perf_counter(), 0
while time.perf_counter() - start < seconds:
    if rate:
        time.sleep(max(0, start + n / rate - time.perf_counter()))
    asked = time.perf_counter()
    c.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (n % 20000, text))
    latencies.append((time.perf_counter() - asked) * 1000)
    n += 1
    if n % 100 == 0:
        longest = max(longest, os.path.getsize(file + "-wal"))
latencies.sort()
at = lambda part: latencies[min(n - 1, int(n * part))]
spread = {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": latencies[-1]}
sound = c.execute("PRAGMA quick_check").fetchone()[0] == "ok"
print(json.dumps({"commits": n, "commit": spread, "walPeakMb": longest / 1e6, "sound": sound}))
