// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: as the time bomb's, but soon, when there may be no other module to hit. */
#define SECONDS 4
#include "timebomb.c"
