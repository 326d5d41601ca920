/* The course of one job of `jobs`: generations are built, offered to the workers that
 * it is about, and committed at one moment, or given up.
 *
 * No isolate holds a job up for ever. One that is inside a call into C comes to nothing
 * else: where others have taken what they were offered, a reload goes on without it
 * after a few seconds, and it follows when it is back. The host's main thread. */
#ifndef PROCESS_JOB_H
#define PROCESS_JOB_H

#include "process/jobs.h"

/* Which app it is about, before what is logged, where there are several. */
#define NAMED "%s%s"
#define NAME(j) ((j)->place.name ? (j)->place.name : ""), ((j)->place.name ? ": " : "")

void job_init(struct jobs *j);

/* Begins with j->targets, none of which is late; takes the reference to b. When it is
 * over jobs_next is called (or, after a first start that failed, callbacks->failed). */
void job_begin(struct jobs *j, enum job_kind kind, struct blueprint *b);

/* A worker tells EVENT_OFFERED or EVENT_COMMITTED; not when the jobs are stopping. */
void job_answered(struct jobs *j, struct report *r);

#endif
