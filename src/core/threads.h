/* threads.h - how many threads, and running them. */
#ifndef C1X1_THREADS_H
#define C1X1_THREADS_H

#include "c1x1.h"

/* C1X1_NUM_THREADS, else the CPUs of the affinity mask, capped by the cgroup's quota. */
int c1x1_threads_limit(const char **why);

/* CPUs that the text of a cgroup v2 cpu.max, or of v1's two files, allows; 0: no limit. */
int c1x1_threads_from_quota(const char *quota, const char *period);

/* The least that the cgroups in the file `memberships` allow, v2 below `root`, v1 below root/cpu; 0: no
 * limit. No other system than Linux has one. */
int c1x1_threads_of_cgroups(const char *memberships, const char *root);

/* Before anything else. */
void c1x1_pool_init(void);

/* A clock, and how long a call computes before it lets the caller look for signals. */
double c1x1_seconds(void);
#define C1X1_SLICE_SECONDS 0.05

/* Calls task(context, 0), and task(context, i) with other i below `threads` in as many threads as
 * come in time, each i at most once. A task that a late thread does not get to must be done by the
 * others. */
void c1x1_threads_run(int threads, void (*task)(void *context, int index), void *context);

#endif
