/* threads.c - how many threads a call may use: this process's CPUs, OpenMP's limits. */
#ifdef __linux__
#define _GNU_SOURCE
#include <sched.h>
#endif
#include "threads.h"

#include "cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifndef _WIN32
#include <unistd.h>
#endif

int c1x1_threads_from_quota(const char *quota, const char *period) {
    char *end;
    const double q = strtod(quota, &end); /* "max" does not parse: no limit */
    if (end == quota || q <= 0) return 0;
    const double p = strtod(period, NULL);
    if (p <= 0) return 0;
    const double cpus = q / p;
    return cpus < 1 ? 1 : cpus > 1e6 ? 0 : (int)(cpus + 0.5);
}

#ifdef __linux__
static int read_line(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    const int ok = fgets(text, (int)size, file) != NULL;
    fclose(file);
    return ok;
}

static int tighter(int a, int b) { return a == 0 ? b : b == 0 ? a : a < b ? a : b; }

/* The quota of the cgroup at `path` and of every group above it. */
static int quota_along(const char *root, const char *path, int is_v2) {
    char directory[1024], file[1200], quota[64], period[64];
    int limit = 0;
    if ((size_t)snprintf(directory, sizeof directory, "%s%s", root, path) >= sizeof directory)
        snprintf(directory, sizeof directory, "%s", root); /* the group that all are in, at least */
    for (;;) {
        if (is_v2) {
            snprintf(file, sizeof file, "%s/cpu.max", directory);
            char *space = read_line(file, quota, sizeof quota) ? strchr(quota, ' ') : NULL;
            if (space) limit = tighter(limit, c1x1_threads_from_quota(quota, space));
        } else {
            snprintf(file, sizeof file, "%s/cpu.cfs_quota_us", directory);
            const int has_quota = read_line(file, quota, sizeof quota);
            snprintf(file, sizeof file, "%s/cpu.cfs_period_us", directory);
            if (has_quota && read_line(file, period, sizeof period))
                limit = tighter(limit, c1x1_threads_from_quota(quota, period));
        }
        if (strlen(directory) <= strlen(root)) return limit;
        *strrchr(directory, '/') = 0;
    }
}

/* Whether `name` is one of the words between commas, which are parted. */
static int is_among(char *words, const char *name) {
    char *rest;
    for (char *word = strtok_r(words, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
        if (strcmp(word, name) == 0) return 1;
    return 0;
}

int c1x1_threads_of_cgroups(const char *memberships, const char *root) {
    char line[1024], controller[1024];
    int limit = 0;
    FILE *file = fopen(memberships, "re");
    if (!file) return 0;
    snprintf(controller, sizeof controller, "%s/cpu", root);
    while (fgets(line, sizeof line, file)) { /* number:controllers:path */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        controllers++;
        if (!*controllers)
            limit = tighter(limit, quota_along(root, path, 1));
        else if (is_among(controllers, "cpu"))
            limit = tighter(limit, quota_along(controller, path, 0));
    }
    fclose(file);
    return limit;
}
#else
int c1x1_threads_of_cgroups(const char *memberships, const char *root) {
    (void)memberships;
    (void)root;
    return 0;
}
#endif

static int usable_cpus(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
#if !defined(_WIN32) && defined(_SC_NPROCESSORS_ONLN)
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
#elif defined(_OPENMP)
    return omp_get_num_procs();
#else
    return 1;
#endif
}

int c1x1_threads_limit(const char **why) {
    c1x1_pool_init();
#if defined(_WIN32) && !defined(_OPENMP)
    *why = "built without threads";
    return 1;
#endif
    const char *text = c1x1_cpu_environment("C1X1_NUM_THREADS");
    const int asked = text ? atoi(text) : 0;
    int limit = usable_cpus();
    *why = "CPUs this process may run on";
    const int quota = c1x1_threads_of_cgroups("/proc/self/cgroup", "/sys/fs/cgroup");
    if (quota > 0 && quota < limit) {
        limit = quota;
        *why = "the cgroup's CPU quota";
    }
    if (asked > 0) {
        limit = asked;
        *why = "C1X1_NUM_THREADS";
    }
    return limit < 1 ? 1 : limit;
}

int c1x1_threads_available(const c1x1_machine *machine) {
    int threads = machine->thread_limit;
#ifdef _OPENMP
    if (omp_in_parallel()) return 1;
    /* OMP_NUM_THREADS, omp_set_num_threads and threadpoolctl all act on this number. */
    const int openmp = omp_get_max_threads();
    if (openmp < threads) threads = openmp;
#endif
    return threads;
}

const char *c1x1_openmp_name(void) {
#ifdef _OPENMP
#ifdef __clang__
    return "libomp";
#else
    return "libgomp";
#endif
#else
    return "none";
#endif
}

double c1x1_seconds(void) {
    struct timespec now;
#ifdef _WIN32
    timespec_get(&now, TIME_UTC);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
