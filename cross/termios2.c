/*
 * Lets a program open serial ports under the qemu-user of Debian 12 (7.2), which knows TCGETS and TCSETS but not those with
 * free speeds (TCGETS2, TCSETS2) that Rust's serialport uses. A speed that has a name is set, since the other end of a
 * pseudo-terminal may look at it; any other is refused.
 * Loaded by cross/run-aarch64; never part of what is shipped.
 */
#include <asm/termbits.h>
#include <dlfcn.h>
#include <errno.h>
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

static const struct {
    speed_t speed;
    tcflag_t name;
} names[] = {
    {600, B600},         {1200, B1200},       {2400, B2400},       {4800, B4800},       {9600, B9600},
    {19200, B19200},     {38400, B38400},     {57600, B57600},     {115200, B115200},   {230400, B230400},
    {460800, B460800},   {500000, B500000},   {576000, B576000},   {921600, B921600},   {1000000, B1000000},
    {1152000, B1152000}, {1500000, B1500000}, {2000000, B2000000}, {2500000, B2500000}, {3000000, B3000000},
    {3500000, B3500000}, {4000000, B4000000},
};

/* The bits that name a speed, or BOTHER where it has no name. */
static tcflag_t name_of(speed_t speed)
{
    for (unsigned at = 0; at < sizeof names / sizeof *names; at++)
        if (names[at].speed == speed)
            return names[at].name;
    return BOTHER;
}

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
        memcpy(&old, new, FLAGS_AND_CHARACTERS);
        if ((new->c_cflag & CBAUD) == BOTHER) {
            tcflag_t name = name_of(new->c_ospeed);
            if (name == BOTHER) {
                errno = EINVAL;
                return -1;
            }
            old.c_cflag = (old.c_cflag & ~CBAUD) | name;
        }
        last = *new;
        return next(fd, OLD_SET + (request - NEW_SET), &old);
    default:
        return next(fd, request, argument);
    }
}
