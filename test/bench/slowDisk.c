/* A disk that takes SLOWER_MS milliseconds longer for each sync: preloaded into a process, in place of the C library's fsync and fdatasync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int slowly(const char *name, int descriptor) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  const char *slower = getenv("SLOWER_MS");
  usleep(slower == NULL ? 0 : 1000 * (useconds_t)atoi(slower));
  return real(descriptor);
}

int fsync(int descriptor) { return slowly("fsync", descriptor); }
int fdatasync(int descriptor) { return slowly("fdatasync", descriptor); }
