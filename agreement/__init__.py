"""Does ebpf-bot see what really ran? Real C programs, held against what `gcc --coverage` counted in the same execution.

`make agreement` fetches the programs' sources (`sources`), builds each of them (`building`), runs its workload under
ebpf-bot (`covering`), reads what the program itself counted (`gcov`) and which functions are in the binary at all
(`functions`), runs it once more in valgrind (`calling`), compares (`comparing`) and writes the tables (`tables`) into
the page (`page`). Which programs, and what is known of them, stands in `programs.toml`.
"""
