set ylabel 'GB/s (compulsory bytes)' noenhanced
reference = copy_gbytes_per_s
reference_text = sprintf('copy %.0f GB/s', copy_gbytes_per_s)
