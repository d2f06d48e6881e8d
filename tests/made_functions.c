/* A program in which GCC makes of each function something else, with -O2 -fipa-cp-clone. */
#include <stdio.h>
#include <stdlib.h>
volatile int sink;
/* All calls agree on an argument: only a copy is left. */
__attribute__((noinline)) static int only_copy(int a, int times)
{ for (int i = 0; i < times; i++) sink += a; return sink; }
/* Exported, so the whole stays, though the calls here go to a copy. */
__attribute__((noinline)) int whole_and_copy(int a, int times)
{ for (int i = 0; i < times; i++) { sink += a; if (times == 7) sink ^= i; } return sink; }
/* Its beginning is inlined; the rest is a part. */
#define REST for (int i = 0; i < x; i++) { sink += i; printf("%d", sink); printf("%d", sink); \
    printf("%d", sink); printf("%d", sink); } return sink;
int whole_and_part(int x) { if (__builtin_expect(x < 0, 1)) return 0; REST }
static int only_part(int x) { if (__builtin_expect(x < 0, 1)) return 1; REST }
__attribute__((cold, noinline)) void rare(void) { sink = 1; }
__attribute__((noinline)) int with_cold(int x)
{ if (__builtin_expect(x > 100, 0)) { rare(); sink += x; abort(); } return x + 1; }
static inline int everywhere(int x) { return x * sink; }
static inline int twice_over(int x) { return x - sink; }
int also_inlined(int x) { return x + sink; }
__attribute__((noinline)) int not_called(int x) { return x - sink; }
__attribute__((target_clones("avx2", "default"))) int versions(int x) { return x + sink; }
static int fast(int x) { return x + 1; }
static int (*choose(void))(int) { return fast; }
int chosen(int) __attribute__((ifunc("choose")));
int same(int) __attribute__((alias("with_cold")));
int main(int argc, char **argv) {
    int n = argc;
    for (int i = 0; i < 3; i++) n += only_copy(argc + i, 7) + whole_and_copy(argc + i, 7);
    n += whole_and_part(-argc) + whole_and_part(argc > 1 ? argc : -argc) + whole_and_part(-2 * argc);
    n += only_part(-argc) + only_part(argc > 1 ? argc : -argc) + only_part(-2 * argc);
    n += with_cold(argc) + everywhere(argc) + also_inlined(argc) + versions(argc) + chosen(argc);
    n += twice_over(argc) + twice_over(sink);
    if (argc > 3) n += not_called(argc);
    return n == 123456;
}
