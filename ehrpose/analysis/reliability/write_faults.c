/* Fail or kill a process at a chosen call that changes files below a folder; loaded with LD_PRELOAD.

   Calls are counted from faults_arm on. The chosen one fails with an error, a write after half of its data; 0 as error
   kills the process there. A full or read-only disk stays so (ENOSPC, EDQUOT, EROFS), any other error comes once. On a
   full disk, a write first ends early and says so, as on a real one. Calls that only tidy up (unlink, chmod) are not
   counted, but a read-only disk refuses them. fsync below the folder does not wait for the disk. Each counted call is
   logged: its name, a tab, its file. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define COUNTED 1
#define NEEDS_ROOM 2
/* What judge() answers: go on, fail at once, fail after half of the data, die after half of it. */
enum { GO, FAIL, HALF, DIE };

static char folder[PATH_MAX];
static size_t folder_length;
static long calls, chosen;
static int error_number, hit, log_file = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void faults_arm(const char *path, long at, int error, int log) {
  strncpy(folder, path, sizeof folder - 1);
  calls = 0, hit = 0, chosen = at, error_number = error, log_file = log;
  folder_length = strlen(folder);
}

int faults_hit(void) { return hit; }

static void name_of(int descriptor, char *path) {
  char link[64];
  ssize_t length;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
  path[length > 0 ? length : 0] = 0;
}

static void place_of(int at, const char *given, char *path) {
  size_t length;
  path[0] = 0;
  if (given[0] != '/') {
    if (at == AT_FDCWD) {
      if (!getcwd(path, PATH_MAX)) path[0] = 0;
    } else {
      name_of(at, path);
    }
    length = strlen(path);
    snprintf(path + length, PATH_MAX - length, "/%s", given);
  } else {
    snprintf(path, PATH_MAX, "%s", given);
  }
}

static int judge(const char *name, const char *path, int kind) {
  int answer = GO;
  if (!folder_length || strncmp(path, folder, folder_length) || path[folder_length] != '/') return GO;
  pthread_mutex_lock(&lock);
  if (kind & COUNTED) {
    calls++;
    if (log_file >= 0) {
      char line[PATH_MAX + 32];
      int length = snprintf(line, sizeof line, "%s\t%s\n", name, path + folder_length + 1);
      syscall(SYS_write, log_file, line, (size_t)length);
    }
    if (calls == chosen) {
      hit = 1;
      answer = error_number ? HALF : DIE;
    }
  }
  if (answer == GO && hit)
    if (error_number == EROFS || ((kind & NEEDS_ROOM) && (error_number == ENOSPC || error_number == EDQUOT)))
      answer = FAIL;
  pthread_mutex_unlock(&lock);
  if (answer != GO) errno = error_number;
  return answer;
}

/* What a write returns of which half was written. */
static ssize_t half_written(ssize_t written) {
  int is_full = error_number == ENOSPC || error_number == EDQUOT;
  if (is_full && written > 0) return written;
  errno = error_number;
  return -1;
}

static void die(void) { syscall(SYS_kill, syscall(SYS_getpid), SIGKILL); }

static int refused(const char *name, int at, const char *given, int kind) {
  char path[PATH_MAX * 2];
  int answer;
  if (!folder_length) return 0;
  place_of(at, given, path);
  answer = judge(name, path, kind);
  if (answer == DIE) die();
  return answer != GO;
}

static int judge_open(const char *name, int descriptor, int kind) {
  char path[PATH_MAX];
  if (!folder_length || descriptor < 0) return GO;
  name_of(descriptor, path);
  return judge(name, path, kind);
}

static int changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define OPEN_MODE \
  mode_t mode = 0; \
  if (flags & (O_CREAT | __O_TMPFILE)) { \
    va_list rest; \
    va_start(rest, flags); \
    mode = va_arg(rest, mode_t); \
    va_end(rest); \
  }
#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    OPEN_MODE \
    if (changes(flags) && refused("open", AT_FDCWD, path, COUNTED | NEEDS_ROOM)) return -1; \
    return real(path, flags, mode); \
  }
#define OPENAT(name) \
  int name(int at, const char *path, int flags, ...) { \
    REAL(name); \
    OPEN_MODE \
    if (changes(flags) && refused("open", at, path, COUNTED | NEEDS_ROOM)) return -1; \
    return real(at, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define CREAT(name) \
  int name(const char *path, mode_t mode) { \
    REAL(name); \
    if (refused("open", AT_FDCWD, path, COUNTED | NEEDS_ROOM)) return -1; \
    return real(path, mode); \
  }
CREAT(creat)
CREAT(creat64)

#define FOPEN(name) \
  FILE *name(const char *path, const char *mode) { \
    REAL(name); \
    if (strpbrk(mode, "wa+") && refused("open", AT_FDCWD, path, COUNTED | NEEDS_ROOM)) return NULL; \
    return real(path, mode); \
  }
FOPEN(fopen)
FOPEN(fopen64)

size_t fwrite(const void *data, size_t size, size_t number, FILE *file) {
  REAL(fwrite);
  switch (judge_open("write", folder_length ? fileno(file) : -1, COUNTED | NEEDS_ROOM)) {
    case GO: return real(data, size, number, file);
    case DIE: real(data, size, number / 2, file), fflush(file), die();
  }
  return 0;
}

ssize_t write(int descriptor, const void *data, size_t size) {
  REAL(write);
  switch (judge_open("write", descriptor, COUNTED | NEEDS_ROOM)) {
    case GO: return real(descriptor, data, size);
    case DIE: real(descriptor, data, size / 2), die();
    case HALF: return half_written(real(descriptor, data, size / 2));
  }
  return -1;
}

#define PWRITE(name, offset_type) \
  ssize_t name(int descriptor, const void *data, size_t size, offset_type offset) { \
    REAL(name); \
    switch (judge_open("write", descriptor, COUNTED | NEEDS_ROOM)) { \
      case GO: return real(descriptor, data, size, offset); \
      case DIE: real(descriptor, data, size / 2, offset), die(); \
      case HALF: return half_written(real(descriptor, data, size / 2, offset)); \
    } \
    return -1; \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec *parts, int number) {
  REAL(writev);
  switch (judge_open("write", descriptor, COUNTED | NEEDS_ROOM)) {
    case GO: return real(descriptor, parts, number);
    case DIE: real(descriptor, parts, number / 2), die();
    case HALF: return half_written(real(descriptor, parts, number / 2));
  }
  return -1;
}

#define SENDFILE(name, offset_type) \
  ssize_t name(int target, int source, offset_type *offset, size_t size) { \
    REAL(name); \
    switch (judge_open("write", target, COUNTED | NEEDS_ROOM)) { \
      case GO: return real(target, source, offset, size); \
      case DIE: real(target, source, offset, 100), die(); \
      case HALF: return half_written(real(target, source, offset, 100)); \
    } \
    return -1; \
  }
ssize_t sendfile(int, int, off_t *, size_t);
ssize_t sendfile64(int, int, off64_t *, size_t);
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

ssize_t copy_file_range(int source, off64_t *from, int target, off64_t *to, size_t size, unsigned flags) {
  REAL(copy_file_range);
  switch (judge_open("write", target, COUNTED | NEEDS_ROOM)) {
    case GO: return real(source, from, target, to, size, flags);
    case DIE: die();
  }
  return -1;
}

#define SYNC(name) \
  int name(int descriptor) { \
    REAL(name); \
    char path[PATH_MAX]; \
    if (!folder_length) return real(descriptor); \
    name_of(descriptor, path); \
    if (strncmp(path, folder, folder_length)) return real(descriptor); \
    switch (judge("fsync", path, COUNTED | NEEDS_ROOM)) { \
      case GO: return 0; \
      case DIE: die(); \
    } \
    return -1; \
  }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, offset_type) \
  int name(int descriptor, offset_type size) { \
    REAL(name); \
    int answer = judge_open("truncate", descriptor, COUNTED); \
    if (answer == DIE) die(); \
    return answer == GO ? real(descriptor, size) : -1; \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define TWO_NAMES(name, kind, shown) \
  int name(const char *first, const char *second) { \
    REAL(name); \
    return refused(shown, AT_FDCWD, second, kind) ? -1 : real(first, second); \
  }
TWO_NAMES(rename, COUNTED, "rename")
TWO_NAMES(symlink, COUNTED | NEEDS_ROOM, "symlink")
TWO_NAMES(link, COUNTED | NEEDS_ROOM, "link")

#define NAME_AND_MODE(name, kind, shown) \
  int name(const char *path, mode_t mode) { \
    REAL(name); \
    return refused(shown, AT_FDCWD, path, kind) ? -1 : real(path, mode); \
  }
NAME_AND_MODE(mkdir, COUNTED | NEEDS_ROOM, "mkdir")
NAME_AND_MODE(chmod, 0, "chmod")

#define ONE_NAME(name) \
  int name(const char *path) { \
    REAL(name); \
    return refused(#name, AT_FDCWD, path, 0) ? -1 : real(path); \
  }
ONE_NAME(unlink)
ONE_NAME(rmdir)

int renameat(int from, const char *first, int to, const char *second) {
  REAL(renameat);
  return refused("rename", to, second, COUNTED) ? -1 : real(from, first, to, second);
}

int mkdirat(int at, const char *path, mode_t mode) {
  REAL(mkdirat);
  return refused("mkdir", at, path, COUNTED | NEEDS_ROOM) ? -1 : real(at, path, mode);
}

int symlinkat(const char *first, int at, const char *second) {
  REAL(symlinkat);
  return refused("symlink", at, second, COUNTED | NEEDS_ROOM) ? -1 : real(first, at, second);
}

int unlinkat(int at, const char *path, int flags) {
  REAL(unlinkat);
  return refused("unlink", at, path, 0) ? -1 : real(at, path, flags);
}
