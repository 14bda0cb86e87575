"""What the harness that compiles kernels without a GPU counts, and sizes of one."""

from compiled_kernels import compiled
from kernel_resources import loads_of

CODE = """
        /*0100*/                   LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;
        /*0110*/                   LDG.E.U16 R5, desc[UR4][R6.64] ;
        /*0120*/              @!P0 LDG.E R7, desc[UR4][R8.64] ;
        /*0130*/                   LDGSTS.E.BYPASS.LTC128B.128 [R9], desc[UR4][R10.64] ;
        /*0140*/                   LDGSTS.E.LTC128B [R9], desc[UR4][R10.64] ;
        /*0150*/                   LDGSTS.E.64 [R9], desc[UR4][R10.64] ;
        /*0160*/                   LDGDEPBAR ;
        /*0170*/                   STG.E.128 desc[UR4][R2.64], R4 ;
"""


def test_loads_are_counted_by_their_width():
    assert loads_of(CODE) == {2: 1, 4: 2, 8: 1, 16: 2}


def test_sizes_of_one_compile(tmp_path):
    """Triton compiles an integer argument of 1 as a constant, which has no methods of a tensor."""
    kernels = compiled(tmp_path, "ones", capabilities=(90,))
    launched = {kernel["name"].rpartition(" ")[2] for kernel in kernels}
    assert launched == {
        *("_aggregate", "_aggregate_backward", "_convolve", "_weight_gradient"),
        *("_route_fwd", "_route_bwd"),
        *("_dispatch_fwd", "_dispatch_bwd", "_combine_fwd", "_combine_bwd"),
    }
