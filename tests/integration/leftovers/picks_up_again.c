// SPDX-License-Identifier: GPL-2.0
/* The same after the other one. */
#include "picks_up.c"
