/* signals: see signals.h. */
#include "bench/signals.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t count;

static void on_signal(int signal_number)
{
    (void)signal_number;
    count = count + 1;
}

void sq_signals_install(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: poll() shall return */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* nohup */
        sigaction(SIGHUP, &action, NULL);
}

int sq_signals_count(void)
{
    return count;
}
