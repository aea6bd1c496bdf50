/* cpu.h - what cpu.c tells registry.c and threads.c. */
#ifndef C1X1_CPU_H
#define C1X1_CPU_H

#include "c1x1.h"

void c1x1_cpu_read(unsigned *features, size_t *l1_bytes, size_t *l2_bytes);
/* Asks the operating system for the tiles of AMX, for this process from now on; whether they were
 * granted. A small signal stack or a sandbox may stand against it. */
int c1x1_cpu_permits_amx(void);
/* NULL when unset or empty. */
const char *c1x1_cpu_environment(const char *name);

#endif
