"""What is read off the machine code of a kernel."""

from machine_code import read

CODE = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0100*/                   LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;
        /*0110*/                   LDG.E.U16 R5, desc[UR4][R6.64] ;
        /*0120*/              @!P0 LDG.E R7, desc[UR4][R8.64] ;
        /*0130*/                   LDGSTS.E.BYPASS.LTC128B.128 [R9], desc[UR4][R10.64] ;
        /*0140*/                   LDGSTS.E.LTC128B [R9], desc[UR4][R10.64] ;
        /*0150*/                   HGMMA.64x128x16.F32.BF16 R24, gdesc[UR12].tnspB, R24 ;
        /*0160*/                   LDGDEPBAR ;
        /*0170*/             @!UP1 BRA 0x140 ;
        /*0180*/                   STG.E.64 desc[UR4][R2.64], R4 ;
        /*0190*/               @P1 BRA 0x110 ;
        /*01a0*/                   HFMA2.MMA R4, -RZ, RZ, 0, 0 ;
        /*01b0*/                   STL [R1], R4 ;
        /*01c0*/              @!P0 EXIT ;
        /*01d0*/                   LDL.64 R4, [R1] ;
        /*01e0*/                   EXIT ;
        /*01f0*/                   LDG.E.64 R4, [R1] ;
        /*0200*/                   BRA 0x1f0 ;
        /*0210*/                   BRA 0x210;
"""


def test_loads_are_counted_by_their_width():
    assert read(CODE).loads == {2: 1, 4: 2, 8: 1, 16: 2}


def test_what_lies_in_local_memory_is_counted():
    assert read(CODE).spills == 2


def test_units_of_products():
    assert read(CODE).units == ["wgmma"]
    assert read("/*0010*/ HMMA.16816.F32.BF16 R4, R36, R2, R4 ;").units == ["mma"]
    assert read("/*0010*/ UTCHMMA gdesc[UR30], gdesc[UR32], tmem[UR13], UPT ;").units == ["tcgen05"]
    assert read("/*0010*/ HFMA2.MMA R4, -RZ, RZ, 0, 0 ;").units == []


def test_loops_lie_in_one_another():
    outer, inner = read(CODE).loops
    assert (outer.start, outer.end, outer.instructions) == (0x110, 0x190, 9)
    assert (inner.start, inner.end, inner.instructions) == (0x140, 0x170, 4)
    assert outer.holds(inner)
    assert not inner.holds(outer)
    assert not inner.holds(inner)


def test_a_turn_of_a_loop():
    outer, inner = read(CODE).loops
    assert (outer.read, outer.written, outer.copies) == (16 + 4, 8, 2)
    assert (inner.read, inner.written, inner.copies) == (4, 0, 1)
    assert inner.products == 2 * 64 * 128 * 16 // 4
    assert (
        read("/*0010*/ HMMA.1688.F32.TF32 R4, R36, R2, R4 ;\n/*0020*/ BRA 0x10 ;\n/*0030*/ EXIT ;")
        .loops[0]
        .products
        == 2 * 16 * 8 * 8
    )
