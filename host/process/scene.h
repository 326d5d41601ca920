/* What an isolate was doing when it crashed: the request that it answered and the lines
 * of Lua that were being run. Called by crash.h's handler, where nothing is certain. */
#ifndef PROCESS_SCENE_H
#define PROCESS_SCENE_H

/* who: a struct isolate, of this thread. */
void scene_describe(const void *who);

#endif
