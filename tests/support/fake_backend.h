/* fake_backend: the CPU backend under the name "cuda", with the facts of a GPU, and the reference
 * as the provider "cuda/portable"; both can be told to fail.
 *
 * $FAKE_GPU holds words, each a fault, with "@L" behind it only where the sequence length is L:
 *   hang        the launch never returns
 *   crash       the launch dies of SIGSEGV
 *   exit        the launch ends the process with exit code 9
 *   sticky      the launch succeeds; the wait for it, and every later call, fails
 *   fail        the launch fails, and nothing else
 *   wrong, nan  the output is wrong, or has a NaN
 *   changes     the output is right at first and changes after some launches
 *   unplanned   the provider's plan cannot be made for want of memory
 *   full        no allocation of more than 200 KiB succeeds, though memory is said to be free
 *   slow        a launch takes 20 ms
 *   downclocked the SM clock is 900 MHz, else 1755
 *   absent      there is no device
 */
#ifndef SQ_TESTS_FAKE_BACKEND_H
#define SQ_TESTS_FAKE_BACKEND_H

#include "core/backend/backend.h"
#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

const sq_backend *fake_backend(void);
const sq_provider *fake_providers(const sq_op *op);

#ifdef __cplusplus
}
#endif
#endif
