/* SPDX-License-Identifier: MIT
 *
 * Lengths and targets of every instruction of this machine's C library and loader, against objdump.
 */
#include "check.h"
#include "decode.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* "  26010:\t48 83 ec 08          \tsub    $0x8,%rsp" */
struct line {
    unsigned long address;
    unsigned bytes;
    unsigned long target; /* 0: leads nowhere */
};

static bool is_jump(const char *text)
{
    static const char *const prefixes[] = {"bnd ", "notrack ", "data16 ", "rex.W ", "cs ", "ds "};
    for (unsigned i = 0; i < sizeof prefixes / sizeof prefixes[0];)
        if (strncmp(text, prefixes[i], strlen(prefixes[i])) == 0) {
            text += strlen(prefixes[i]);
            i = 0;
        } else {
            i++;
        }
    return (text[0] == 'j' || strncmp(text, "call", 4) == 0 || strncmp(text, "loop", 4) == 0 ||
            strncmp(text, "xbegin", 6) == 0) &&
           !strstr(text, " *"); /* an address in a register or memory */
}

static bool parse(char *text, struct line *line)
{
    char *colon, *bytes = strchr(text, '\t');
    char *words = bytes ? strchr(bytes + 1, '\t') : NULL;
    *line = (struct line){.address = strtoul(text, &colon, 16)};
    if (!words || *colon != ':' || strstr(words, "(bad)"))
        return false;
    for (char *at = bytes + 1; at < words; at++)
        line->bytes += at[0] != ' ' && at[-1] != ' ' && at - bytes > 1;
    while (*++words == ' ')
        ;
    if (is_jump(words)) {
        const char *symbol = strchr(words, '<');
        const char *at = symbol ? symbol - 1 : words + strlen(words);
        while (at > words && at[-1] != ' ')
            at--;
        line->target = strtoul(at, NULL, 16);
    }
    return true;
}

static void check_file(const char *path)
{
    char command[256], text[512];
    struct stat status;
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &status) == 0);
    /* Shared: into a private mapping the kernel would put other people's probes. */
    const uint8_t *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(file != MAP_FAILED);
    snprintf(command, sizeof command, "objdump -d --wide -j .text %s", path);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    long seen = 0, wrong = 0;
    struct line line;
    while (fgets(text, sizeof text, pipe)) {
        struct memsc_instruction instruction;
        if (!parse(text, &line) || line.address + line.bytes > (unsigned long)status.st_size)
            continue;
        const uint8_t *at = file + line.address; /* text lies at its own offset in the file */
        bool known = memsc_decode(at, file + status.st_size, &instruction);
        seen++;
        if (!known || instruction.length != line.bytes ||
            instruction.target != (line.target ? file + line.target : NULL)) {
            if (wrong++ < 10)
                fprintf(stderr, "%s: length %u: %s", path, instruction.length, text);
        }
    }
    pclose(pipe);
    printf("%s: %ld instructions, %ld wrong\n", path, seen, wrong);
    CHECK(seen > 1000);
    CHECK_EQUAL(wrong, 0);
}

int main(void)
{
    static const char *const files[] = {"/lib/x86_64-linux-gnu/libc.so.6",
                                        "/lib64/ld-linux-x86-64.so.2"};
    if (system("objdump --version >/dev/null 2>&1") != 0)
        return 77;
    for (int i = 0; i < 2; i++)
        if (access(files[i], R_OK) != 0)
            return 77;
    for (int i = 0; i < 2; i++)
        check_file(files[i]);
    return 0;
}
