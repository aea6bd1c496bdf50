/* pool.c - the threads that help a call.
 *
 * A call takes tasks itself and lets helpers join. When no task is left it closes, and waits only
 * for helpers that are inside a task: one that never got a CPU is not waited for, as an OpenMP
 * region's barrier would (decision 0008). Helpers watch for the next call for a while, then sleep.
 *
 * Where there are no POSIX threads, OpenMP runs the call. */
#define _POSIX_C_SOURCE 200809L
#include "threads.h"

#ifndef _WIN32

#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif

enum {
    TURNS = 50,      /* of a helper that watches: some tens of microseconds */
    STACK = 1 << 20, /* bytes; kernels need up to fifty thousand */
    MOST_HELPERS = 1023
};

/* One call, on the caller's stack. All but `active` changes under the lock. */
typedef struct job {
    void (*task)(void *context, int index);
    void *context;
    fenv_t modes;     /* of the caller: results must not depend on who computes them */
    int joined, most; /* helpers so far; as many as there is room for */
    atomic_int active;
    struct job *next;
} job;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t call;
    job *jobs; /* open ones */
    int helpers, asleep;
    atomic_uint epoch; /* counts calls */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .call = PTHREAD_COND_INITIALIZER};

/* About a microsecond, at the end of which whoever else wants this CPU gets it: often that is the
 * very thread that is waited for. */
static void wait_a_moment(void) {
    for (int i = 0; i < 32; i++) RELAX();
    sched_yield();
}

/* An open job with room, entered; NULL: none. With the lock held. */
static job *join(int *index) {
    for (job *j = pool.jobs; j; j = j->next) {
        if (j->joined == j->most) continue;
        *index = ++j->joined;
        atomic_fetch_add_explicit(&j->active, 1, memory_order_relaxed);
        return j;
    }
    return NULL;
}

static void *help(void *unused) {
    (void)unused;
    for (;;) {
        int index = 0;
        const unsigned seen = atomic_load_explicit(&pool.epoch, memory_order_relaxed);
        pthread_mutex_lock(&pool.lock);
        job *j = join(&index);
        pthread_mutex_unlock(&pool.lock);
        if (j) {
            fesetenv(&j->modes);
            j->task(j->context, index);
            atomic_fetch_sub_explicit(&j->active, 1, memory_order_release); /* j is gone now */
            continue;
        }
        int turns = 0;
        for (; turns < TURNS && atomic_load_explicit(&pool.epoch, memory_order_relaxed) == seen;
             turns++)
            wait_a_moment();
        if (turns < TURNS) continue;
        pthread_mutex_lock(&pool.lock);
        while (atomic_load_explicit(&pool.epoch, memory_order_relaxed) == seen) {
            pool.asleep++;
            pthread_cond_wait(&pool.call, &pool.lock);
            pool.asleep--;
        }
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

/* Helpers take no signals: those are for the threads of the program. With the lock held. */
static void hire(int wanted) {
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pool.helpers >= wanted || pthread_attr_init(&attributes) != 0) return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    while (pool.helpers < wanted && pthread_create(&thread, &attributes, help, NULL) == 0)
        pool.helpers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* The lock is held across a fork, so that the child finds whole lists; its helpers are gone. */
static void before_fork(void) { pthread_mutex_lock(&pool.lock); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&pool.lock); }
static void after_fork_in_child(void) {
    pool.jobs = NULL;
    pool.helpers = pool.asleep = 0;
    pthread_cond_init(&pool.call, NULL);
    pthread_mutex_unlock(&pool.lock);
}

void c1x1_pool_init(void) {
    static int is_registered;
    if (!is_registered)
        is_registered = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

/* A helper that has a task is running it, unless it lost its CPU: then this thread gives up its own
 * rather than spin against it. */
static void await(job *j) {
    const struct timespec a_while = {0, 20000};
    for (int turns = 0; atomic_load_explicit(&j->active, memory_order_acquire) > 0; turns++) {
        if (turns < TURNS)
            wait_a_moment();
        else
            nanosleep(&a_while, NULL);
    }
}

void c1x1_threads_run(int threads, void (*task)(void *context, int index), void *context) {
    const int most = (threads < MOST_HELPERS ? threads : MOST_HELPERS) - 1;
    if (most < 1) {
        task(context, 0);
        return;
    }
    job j = {.task = task, .context = context, .most = most};
    fegetenv(&j.modes);
    pthread_mutex_lock(&pool.lock);
    hire(most);
    j.next = pool.jobs;
    pool.jobs = &j;
    atomic_fetch_add_explicit(&pool.epoch, 1, memory_order_relaxed);
    const int asleep = pool.asleep;
    pthread_mutex_unlock(&pool.lock);
    if (asleep > 0) pthread_cond_broadcast(&pool.call);

    task(context, 0);

    pthread_mutex_lock(&pool.lock);
    job **link = &pool.jobs;
    while (*link != &j) link = &(*link)->next;
    *link = j.next;
    pthread_mutex_unlock(&pool.lock);
    await(&j);
}

#else
#ifdef _OPENMP
#include <omp.h>
#endif

void c1x1_pool_init(void) {}

void c1x1_threads_run(int threads, void (*task)(void *context, int index), void *context) {
#ifdef _OPENMP
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        task(context, omp_get_thread_num());
        return;
    }
#endif
    (void)threads;
    task(context, 0);
}

#endif
