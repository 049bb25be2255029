/* SPDX-License-Identifier: MIT */
/* What the C programs of this folder check with. */
#ifndef BITNET_TESTS_C_CHECK_H
#define BITNET_TESTS_C_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                               \
    ((condition) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), exit(1)))

#endif
