/* Fails the n-th call of one kind on a regular file, as a dying disk or a full one would; inert until armed.
 *
 *   cc -shared -fPIC -O2 -o fault_shim.so fault_shim.c -ldl
 *   LD_PRELOAD=./fault_shim.so python ...      then, in the process: fault_arm(kind, nth, errno, sticky)
 *
 * Kinds: 0 write, 1 fsync, 2 rename, 3 open for writing. nth counts from 1; 0 only counts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE, FSYNC, RENAME, OPEN, KINDS };

static atomic_long counts[KINDS];
static volatile int armed, armed_kind, armed_errno, armed_sticky;
static volatile long armed_nth;

void fault_arm(int kind, long nth, int error, int sticky) {
    for (int k = 0; k < KINDS; k++) atomic_store(&counts[k], 0);
    armed_kind = kind, armed_nth = nth, armed_errno = error, armed_sticky = sticky;
    armed = 1;
}

long fault_count(int kind) { return atomic_load(&counts[kind]); }

static int fails(int kind) {
    if (!armed) return 0;
    long n = atomic_fetch_add(&counts[kind], 1) + 1;
    int is_it = kind == armed_kind && armed_nth > 0 && (n == armed_nth || (armed_sticky && n > armed_nth));
    if (is_it) errno = armed_errno;
    return is_it;
}

static int is_file(int fd) {
    struct stat status;
    int before = errno, regular = fd > 2 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    errno = before;
    return regular;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
    if (is_file(fd) && fails(WRITE)) return -1;
    return REAL(write)(fd, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (is_file(fd) && fails(WRITE)) return -1;
    return REAL(writev)(fd, parts, count);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    if (is_file(fd) && fails(WRITE)) return -1;
    return REAL(pwrite)(fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    if (is_file(fd) && fails(WRITE)) return -1;
    return REAL(pwrite64)(fd, data, size, offset);
}
int fsync(int fd) { return fails(FSYNC) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails(FSYNC) ? -1 : REAL(fdatasync)(fd); }
int rename(const char *from, const char *to) { return fails(RENAME) ? -1 : REAL(rename)(from, to); }
int renameat(int a, const char *from, int b, const char *to) {
    return fails(RENAME) ? -1 : REAL(renameat)(a, from, b, to);
}

static int wants_to_write(int flags) { return (flags & O_ACCMODE) != O_RDONLY && (flags & O_CREAT); }

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, int);
    va_end(rest);
    if (wants_to_write(flags) && fails(OPEN)) return -1;
    return REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, int);
    va_end(rest);
    if (wants_to_write(flags) && fails(OPEN)) return -1;
    return REAL(open64)(path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, int);
    va_end(rest);
    if (wants_to_write(flags) && fails(OPEN)) return -1;
    return REAL(openat)(folder, path, flags, mode);
}
