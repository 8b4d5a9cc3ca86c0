#include "base/defs.h"

#include <stdio.h>
#include <stdlib.h>

void ks_assert_failed(const char *condition, const char *file, int line, const char *function)
{
    (void)fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", file, line, function, condition);
    (void)fflush(stderr);
    abort();
}
