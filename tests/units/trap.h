/* trap.h - AMX instructions on a CPU that lacks them. */
#ifndef TRAP_H
#define TRAP_H

/* From now on AMX instructions of this process are emulated (one thread). */
void amx_trap(void);
/* Whether the tiles are as before the first LDTILECFG. */
int amx_is_released(void);
/* Instructions emulated so far. */
extern unsigned long amx_trapped;

#endif
