# Hierarchical roofline: one point a memory level, all at the achieved rate, each under the roof of
# its own level. $level: intensity, rate, name, colour; $roof: GB/s, colour, name.
set logscale x 2
set xlabel 'flops per byte moved at the level (compulsory flops)' noenhanced
set ylabel 'TFLOP/s (compulsory flops)' noenhanced
set samples 1000
top = flat_tflops > 0 ? flat_tflops : simt_tflops > 0 ? simt_tflops : 1e30
roof(x, gbytes) = gbytes * x / 1e3 < top ? gbytes * x / 1e3 : top
