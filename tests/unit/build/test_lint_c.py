"""Which lines of a kernel's build are about our sources."""

from kmodlab.build.lint_c import complaints
from kmodlab.ground.cache import REPOSITORY

LOG = """\
  CC [M]  /mnt/hello-1.o
/mnt/hello-1.c:12:5: warning: symbol 'count' was not declared. Should it be static?
/mnt/hello-1.c:12:5: warning: symbol 'count' was not declared. Should it be static?
./include/linux/slab.h:3:1: warning: of the kernel's own header
/mnt/other/cat_nonblock.c:3:1: error: no such thing
/usr/src/linux-headers-7.3/include/linux/seqlock.h:212:16: error: Expected ) at end of cast operator
/usr/src/linux-headers-7.3/include/linux/seqlock.h:213:16: error: got __typeof_unqual__
hello-2.c:1:2: warning: a path from the folder (newer kbuild)
WARNING: modpost: missing MODULE_DESCRIPTION() in hello-3.o
make[1]: *** [Makefile:1] Error 2
"""


def test_our_files_are_told_once_by_their_place_in_the_repository() -> None:
    assert complaints(LOG, REPOSITORY / "examples") == [
        "examples/hello-1.c:12:5: warning: symbol 'count' was not declared. Should it be static?",
        "examples/other/cat_nonblock.c:3:1: error: no such thing",
        "examples/hello-2.c:1:2: warning: a path from the folder (newer kbuild)",
        "the kernel's headers cannot be read: "
        "/usr/src/linux-headers-7.3/include/linux/seqlock.h:212:16: error: Expected ) at end of cast operator",
        "WARNING: modpost: missing MODULE_DESCRIPTION() in hello-3.o",
    ]
