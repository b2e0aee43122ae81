/* stop.h -- Ctrl-C and its like as something that is asked for and looked at. */
#ifndef KVLAB_STOP_H
#define KVLAB_STOP_H

/* From now on the first SIGINT or SIGTERM is noted, and interrupts what waits; a second one ends
 * the process as usual. */
void stop_catch(void);

/* The signal that was noted, 0 while there is none. */
int stop_signal(void);

#endif
