set ylabel 'speed relative to ' . baseline_text . ' (times)' noenhanced
reference = 1
reference_text = baseline_text . ' = 1'
