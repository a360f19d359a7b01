set xlabel 'arithmetic intensity (FLOP per byte, compulsory)' noenhanced
set ylabel 'TFLOP/s (compulsory flops)' noenhanced
