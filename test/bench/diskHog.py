"""Another program that uses the disk: writes 32 MB and syncs them, again and again."""
import os
import sys

file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_TRUNC)
megabyte = os.urandom(1 << 20)
while True:
    os.lseek(file, 0, os.SEEK_SET)
    for _ in range(32):
        os.write(file, megabyte)
    os.fsync(file)
