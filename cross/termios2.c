/*
 * Lets a program open serial ports under the qemu-user of Debian 12 (7.2), which knows TCGETS and TCSETS but not those with
 * free speeds (TCGETS2, TCSETS2) that Rust's serialport uses. For pseudo-terminals only: the speed is remembered, not set.
 * Loaded by cross/run-aarch64; never part of what is shipped.
 */
#include <asm/termbits.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>

#define FLAGS_AND_CHARACTERS (__builtin_offsetof(struct termios2, c_ispeed))

/* From asm-generic/ioctls.h, whose header collides with libc's. */
#define OLD_GET 0x5401
#define OLD_SET 0x5402
#define NEW_GET 0x802C542AUL
#define NEW_SET 0x402C542BUL
#define NEW_SET_DRAINED 0x402C542CUL
#define NEW_SET_FLUSHED 0x402C542DUL

static struct termios2 last;

int ioctl(int fd, unsigned long request, ...)
{
    static int (*next)(int, unsigned long, void *);
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (next == NULL)
        next = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");

    struct termios old;
    struct termios2 *new = argument;
    memset(&old, 0, sizeof old);
    switch (request) {
    case NEW_GET: {
        int result = next(fd, OLD_GET, &old);
        memset(new, 0, sizeof *new);
        memcpy(new, &old, FLAGS_AND_CHARACTERS);
        new->c_ispeed = last.c_ispeed;
        new->c_ospeed = last.c_ospeed;
        return result;
    }
    case NEW_SET:
    case NEW_SET_DRAINED:
    case NEW_SET_FLUSHED:
        last = *new;
        memcpy(&old, new, FLAGS_AND_CHARACTERS);
        old.c_cflag = (old.c_cflag & ~CBAUD) | B38400;
        return next(fd, OLD_SET + (request - NEW_SET), &old);
    default:
        return next(fd, request, argument);
    }
}
