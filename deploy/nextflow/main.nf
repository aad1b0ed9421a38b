// A plate in parts: each part is a run of its own, and at the end all are one run.
//
//     nextflow run main.nf --plate /data/PLATE.zarr --options '--channel FISH' --out results
//
// Processes were run here by the shell and the file was parsed; Nextflow itself was not
// to be had where it was written, see docs/workflows.md.

nextflow.enable.dsl = 2

params.plate = null
params.options = null      // all options of deepspot-scale run
params.files = []          // files that the options name, such as wound.csv
params.split = 'rows'      // rows, columns, wells, or a number of parts
params.out = 'results'

// The plate goes as a word, not as a file: parts of one run must name one plate, and
// Nextflow would give each a link of its own to it.
process SPLIT {
    input:
    val plate

    output:
    stdout

    script:
    """
    deepspot-scale info '${plate}' --split '${params.split}'
    """
}

// Code 3 says that some fields failed: they are rows of the tables with their reasons, in
// the report, too. Code 75 asks for the same command again.
process RUN_PART {
    tag "${wells}"
    cpus 2
    memory '8 GB'
    errorStrategy { task.exitStatus == 75 ? 'retry' : 'finish' }
    maxRetries 3

    input:
    val plate
    val wells
    path files

    output:
    path 'run'

    script:
    """
    deepspot-scale run '${plate}' ${params.options} --wells '${wells}' --out run || [ \$? -eq 3 ]
    """
}

process MERGE {
    publishDir params.out, mode: 'copy'
    cpus 1
    memory '8 GB'

    input:
    path 'part-*'

    output:
    path 'run'

    script:
    """
    deepspot-scale merge part-* --out run || [ \$? -eq 3 ]
    """
}

workflow {
    if (!params.plate || !params.options) {
        error "give --plate /data/PLATE.zarr and --options '--channel FISH ...'"
    }
    plate = params.plate.contains('://') ? params.plate : file(params.plate, checkIfExists: true).toAbsolutePath().toString()
    files = params.files ? Channel.fromPath(params.files).collect() : []
    wells = SPLIT(plate).splitText().map { line -> line.trim() }
    MERGE(RUN_PART(plate, wells, files).collect())
}
